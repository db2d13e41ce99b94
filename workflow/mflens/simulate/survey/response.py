"""The response R of kappa = R delta: one number for what each shell does to each bin.

Within a shell a sim knows the mean density only, weighted by volume, while the lensing kernel W
varies along it, most where a bin's sources stand. The integral of W over the shell gives too much
power there, the kernel's projection on the volume weight too little. R is that integral, changed as
little as makes the spectra of all pairs of bins those of Limber's integral over W.
"""

from dataclasses import dataclass

import numpy as np

from mflens.simulate.survey.line_of_sight import LineOfSight
from mflens.theory.cosmology import Cosmology

N_ELL = 6
ELL_MIN = 18  # below, cosmic variance hides what a shell does
# variance of a relative change of R over that of the relative error of a spectrum
STIFFNESS = 0.01
ROUNDS = 2  # of Gauss and Newton: the spectra are quadratic in R


@dataclass(frozen=True)
class Matter:
    """What the response is fitted to.

    Attributes
    ----------
    power
        Limber's power P((l + 1/2) / chi, chi) in (Mpc/h)^3 along the line of sight at some l,
        shape (n_ell, n_shells, STEPS).
    spectra
        C_l^{ij} of the shells' density at these l, shape (n_ell, n_shells, n_shells).
    """

    power: np.ndarray
    spectra: np.ndarray


def fitted_multipoles(ell_max: int) -> np.ndarray:
    """Return the multipoles at which the response is fitted, up to ell_max."""
    lowest = min(ELL_MIN, max(ell_max // 2, 2))
    return np.unique(np.geomspace(lowest, ell_max, N_ELL).round().astype(int))


def matter_along(sight: LineOfSight, cosmology: Cosmology) -> Matter:
    """Return what a cosmology says of its own shells, linear in z, ln k and ln P between them."""
    ell = fitted_multipoles(len(cosmology.spectra) - 1)
    ln_k = np.log((ell[:, None, None] + 0.5) / sight.chi)
    # shells beyond all sources may be of one time
    z, row = np.unique(cosmology.shell_growth.z, return_index=True)
    table = np.log(cosmology.nonlinear[row])
    row, right = _neighbours(z, np.minimum(sight.z, z[-1]))
    column, above = _neighbours(np.log(cosmology.k), ln_k)
    near, far = (
        (1 - above) * table[r, column] + above * table[r, column + 1] for r in (row, row + 1)
    )
    power = np.exp((1 - right) * near + right * far)
    return Matter(power, cosmology.spectra[ell])


def _neighbours(grid: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the left neighbour of x on the grid, and the right one's share, also beyond it."""
    left = np.clip(np.searchsorted(grid, x) - 1, 0, grid.size - 2)
    return left, (x - grid[left]) / (grid[left + 1] - grid[left])


def limber_spectra(kernel: np.ndarray, sight: LineOfSight, power: np.ndarray) -> np.ndarray:
    """Return C_l = int dchi W W' P / chi^2 of all pairs of bins, shape (n_ell, n_bins, n_bins).

    Parameters
    ----------
    kernel
        W in h/Mpc, shape (n_bins, n_shells, STEPS).
    sight
        The line of sight.
    power
        As in `Matter`.

    References
    ----------
    arXiv:0809.5112, first order.
    """
    root = np.sqrt(power * sight.length) / sight.chi
    weighted = (kernel * root[:, None]).reshape(len(power), len(kernel), -1)
    return weighted @ weighted.transpose(0, 2, 1)


def response(kernel: np.ndarray, sight: LineOfSight, matter: Matter | None = None) -> np.ndarray:
    """Return R, shape (n_bins, n_shells).

    Parameters
    ----------
    kernel
        W in h/Mpc, shape (n_bins, n_shells, STEPS).
    sight
        The line of sight.
    matter
        What to fit R to; without it R is the integral of W over each shell.

    Notes
    -----
    With R = R_0 (1 + e), R_0 being the integral, e minimises
    sum e^2 + sum_{l, a <= b} ((R C_l R^T)_ab / C_l,ab - 1)^2 / STIFFNESS, C_l,ab by Limber.
    """
    plain = (kernel * sight.length).sum(axis=2)
    if matter is None:
        return plain
    wanted = limber_spectra(kernel, sight, matter.power)
    a, b = np.triu_indices(len(kernel))
    pair = np.arange(a.size)
    wanted = wanted[:, a, b]
    change = np.zeros(plain.size)
    for _ in range(ROUNDS):
        found = plain * (1 + change.reshape(plain.shape))
        product = found @ matter.spectra
        ratio = np.einsum("lpi,pi->lp", product[:, a], found[b]) / wanted
        slope = np.zeros((len(wanted), pair.size, *plain.shape))
        slope[:, pair, a] += plain[a] * product[:, b] / wanted[..., None]
        slope[:, pair, b] += plain[b] * product[:, a] / wanted[..., None]
        slope = slope.reshape(ratio.size, plain.size)
        missing = 1 - ratio.ravel() + slope @ change
        stiff = slope @ slope.T + STIFFNESS * np.eye(ratio.size)
        change = slope.T @ np.linalg.solve(stiff, missing)
    return plain * (1 + change.reshape(plain.shape))
