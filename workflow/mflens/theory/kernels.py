"""Projection kernels of comoving shells, which no cosmology changes.

A shell keeps its edges in Mpc/h for all cosmologies, so the integral of its window against the
spherical Bessel functions is computed once. Growth inside the shell is linear in distance to a
part in 10^4 and enters through the kernel's first moment.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial import legendre

from mflens.compiled import compiled

K_MIN = 2e-4
RELATIVE_STEP = 1.5e-3
N_MOMENTS = 2
N_EXACT = 400

# spacing of the nodes that a smooth power spectrum needs: in ln k, and in h/Mpc for as long as
# baryon wiggles (period 0.06 h/Mpc) last
NODE_STEP_LOG = 0.15
NODE_STEP_WIGGLES = 0.012
WIGGLES_END = 0.5

leggauss = cache(legendre.leggauss)


@dataclass(frozen=True)
class Shells:
    """Concentric shells of equal comoving thickness around the observer.

    Attributes
    ----------
    n_shells
        Number of shells, the first starting at distance 0.
    thickness_mpc_h
        Comoving thickness in Mpc/h.
    """

    n_shells: int
    thickness_mpc_h: float

    @property
    def edges(self) -> np.ndarray:
        """Comoving distances of the edges in Mpc/h, shape (n_shells + 1,)."""
        return self.thickness_mpc_h * np.arange(self.n_shells + 1)

    def quadrature(self, i: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return nodes in Mpc/h and weights of the volume average over shell i, shapes (n,)."""
        x, w = leggauss(n)
        chi = self.thickness_mpc_h * (i + 0.5 + 0.5 * x)
        weight = w * chi**2
        return chi, weight / weight.sum()

    def offset(self, i: int, chi: np.ndarray) -> np.ndarray:
        """Return the distance from the volume-averaged mean distance, in shell thicknesses."""
        nodes, weights = self.quadrature(i, 8)
        return (chi - weights @ nodes) / self.thickness_mpc_h


def wavenumbers(shells: Shells, k_max: float, box: float) -> np.ndarray:
    """Return the grid in h/Mpc that resolves the oscillations of all shells.

    The kernels oscillate with period pi/chi; steps grow with k because only near shells have
    power there. The discrete modes of a periodic box of side `box` (Mpc/h) are grid points as
    long as they are sparse, so that sums over the box are exact where discreteness matters.
    """
    # the lattice makes the grid irregular, which leaves the trapezium rule second order: 0.03 per
    # cent of the farthest shells at low l, ten times that at twice the step
    step = 0.3 / shells.edges[-1]
    linear = K_MIN + step * np.arange(int(1 / RELATIVE_STEP))
    n_log = int(np.ceil(np.log(k_max / linear[-1]) / RELATIVE_STEP))
    lattice = 2 * np.pi / box * np.sqrt(np.arange(1, N_EXACT))
    grid = [linear, np.geomspace(linear[-1], k_max, n_log + 1)[1:], lattice]
    return np.unique(np.concatenate(grid))


def node_wavenumbers(k: np.ndarray) -> np.ndarray:
    """Return few wavenumbers in h/Mpc between which a power spectrum is a cubic spline in ln k.

    Parameters
    ----------
    k
        Wavenumbers of the kernels in h/Mpc, ascending; the nodes have the same range.
    """
    x = np.linspace(np.log(k[0]), np.log(k[-1]), 10_000)
    wiggles = np.exp(x - (np.exp(x) / WIGGLES_END) ** 2) / NODE_STEP_WIGGLES
    # a tenth of a second, which only the job that computes kernels should take
    from scipy.integrate import cumulative_trapezoid

    count = cumulative_trapezoid(1 / NODE_STEP_LOG + wiggles, x, initial=0.0)
    nodes = np.exp(np.interp(np.linspace(0, count[-1], int(np.ceil(count[-1])) + 1), count, x))
    return np.clip(nodes, k[0], k[-1])


def compute_kernels(shells: Shells, k: np.ndarray, ell_max: int) -> np.ndarray:
    """Return the moments of the projection kernels, float32.

    Delta_l^{i,p}(k) = int dchi W_i(chi) x_i(chi)^p j_l(k chi), with W_i the volume window and x_i
    the offset from the mean distance in shell thicknesses.

    Parameters
    ----------
    shells
        The shells.
    k
        Wavenumbers in h/Mpc, shape (n_k,).
    ell_max
        Largest multipole.

    Returns
    -------
    array
        Shape (ell_max + 1, n_shells, 2, n_k).
    """
    kernels = np.zeros((ell_max + 1, shells.n_shells, N_MOMENTS, k.size), dtype=np.float32)
    # Gauss-Legendre resolves exp(ikx) over the shell with about 0.35 k Delta chi nodes
    counts = (8 * np.ceil((10 + 0.36 * k * shells.thickness_mpc_h) / 8)).astype(int)
    for count in np.unique(counts):
        (columns,) = np.nonzero(counts == count)
        for i in range(shells.n_shells):
            chi, weight = shells.quadrature(i, count)
            moments = np.stack([weight, weight * shells.offset(i, chi)])
            kernels[:, i, :, columns] = _project(k[columns], chi, moments, ell_max)
    # products of two must not be denormal: processors take many times as long over such numbers
    for one in kernels:
        one[np.abs(one) < np.sqrt(np.finfo(np.float32).tiny)] = 0
    return kernels


@compiled("f8[::1]", "f8[::1]", "f8[:,::1]", "i8", fastmath=True)
def _project(k: np.ndarray, chi: np.ndarray, moments: np.ndarray, ell_max: int) -> np.ndarray:
    """Sum moments * j_l(k chi) over chi; shape (n_k, ell_max + 1, n_moments)."""
    result = np.zeros((k.size, ell_max + 1, moments.shape[0]))
    for a in range(k.size):
        for b in range(chi.size):
            bessel = _spherical_bessel(k[a] * chi[b], ell_max)
            for p in range(moments.shape[0]):
                for ell in range(ell_max + 1):
                    result[a, ell, p] += moments[p, b] * bessel[ell]
    return result


@compiled(fastmath=True)
def _spherical_bessel(x: float, ell_max: int) -> np.ndarray:
    """Return j_0 ... j_ell_max at x by the recurrence in its stable direction."""
    result = np.zeros(ell_max + 1)
    j0 = np.sin(x) / x
    if x > ell_max:
        result[0] = j0
        result[1] = j0 / x - np.cos(x) / x
        for ell in range(1, ell_max):
            result[ell + 1] = (2 * ell + 1) / x * result[ell] - result[ell - 1]
        return result
    above, here = 0.0, 1e-250
    for ell in range(ell_max + 20 + int(np.sqrt(40.0 * ell_max)), 0, -1):
        below = (2 * ell + 1) / x * here - above
        above, here = here, below
        if ell <= ell_max + 1:
            result[ell - 1] = here
        if abs(here) > 1e200:
            above, here = above * 1e-250, here * 1e-250
            result *= 1e-250
    # j_0 and j_1 share no zero: normalise by the larger
    if abs(result[0]) >= abs(result[1]):
        return result * (j0 / result[0])
    return result * ((j0 / x - np.cos(x) / x) / result[1])
