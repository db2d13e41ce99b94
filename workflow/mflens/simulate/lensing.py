"""Weak lensing in the Born approximation: from density shells to convergence and shear.

Convergence is linear in the shells, kappa = R delta, with one matrix R for each cosmology and
survey; all tiers share it. Sources that cluster weight the line of sight, pixel by pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import glass
import numpy as np

from mflens.errors import DataError
from mflens.simulate import harmonics
from mflens.theory.cosmology import N_Z_TABLE
from mflens.theory.kernels import Shells
from mflens.theory.parameters import Z_MAX

if TYPE_CHECKING:
    from cosmology.compat.camb import Cosmology as Background

NODES_PER_SHELL = 64
BLOCK = 2**14  # pixels of all shells that a core's cache holds


def shell_windows(shells: Shells, background: "Background", h: float) -> list[Any]:
    """Return GLASS's radial windows of the shells: volume weight inside, nothing outside.

    Parameters
    ----------
    shells
        The shells.
    background
        Distances in Mpc.
    h
        Hubble parameter, to turn the shells' Mpc/h into Mpc.
    """
    chi = np.linspace(shells.edges[:-1], shells.edges[1:], NODES_PER_SHELL, axis=1)
    table = np.linspace(0.0, Z_MAX, N_Z_TABLE)
    distance = np.asarray(background.comoving_distance(table), dtype=float) * h
    z = np.interp(chi, distance, table)
    # dchi / dz = c / H, but for a factor that drops out
    weight = chi**2 / np.asarray(background.H_over_H0(z.ravel())).reshape(z.shape)
    mean = np.trapezoid(weight * z, z) / np.trapezoid(weight, z)
    return [glass.RadialWindow(*window) for window in zip(z, weight, mean, strict=True)]


def source_shares(z: np.ndarray, n_of_z: np.ndarray, windows: Sequence[Any]) -> np.ndarray:
    """Return the share of each bin's sources in each shell, shape (n_bins, n_shells).

    Parameters
    ----------
    z, n_of_z
        Redshifts, shape (n_z,), and source distributions, shape (n_bins, n_z).
    windows
        Radial windows of the shells (`shell_windows`).
    """
    # ASSUME the sources of a shell sit at its effective distance
    shares = np.asarray(glass.partition(z, n_of_z, windows))
    shares = shares.reshape(len(windows), len(n_of_z)).T
    return shares / shares.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class SourcePlanes:
    """Where the sources of a survey are and what lenses them.

    Attributes
    ----------
    shares
        Share of each bin's sources in each shell (`source_shares`), shape (n_bins, n_shells).
    convergence
        What a unit density contrast of each shell (second axis) adds to the convergence of sources
        in each shell (first axis), shape (n_shells, n_shells).
    """

    shares: np.ndarray
    convergence: np.ndarray

    @property
    def response(self) -> np.ndarray:
        """Matrix R of kappa = R @ density contrast of each bin, shape (n_bins, n_shells)."""
        return self.shares @ self.convergence


def plane_convergence(windows: Sequence[Any], background: "Background") -> np.ndarray:
    """Return the convergence that each shell (second axis) adds to sources in each (first axis).

    Parameters
    ----------
    windows
        Radial windows of the shells.
    background
        Distances, for GLASS.

    Returns
    -------
    array
        Shape (n_shells, n_shells).

    References
    ----------
    GLASS, arXiv:2302.01942: its recurrence over the lens planes, written as a matrix.
    """
    # ASSUME Born approximation: light follows the undeflected line of sight
    return np.asarray(glass.multi_plane_matrix(windows, background))


def convergence(delta: Sequence[np.ndarray] | np.ndarray, response: np.ndarray) -> np.ndarray:
    """Return kappa = R delta, shape (n_rows, n_pix), in the precision of the shells.

    Parameters
    ----------
    delta
        Density contrast of the shells, each of shape (n_pix,); one array of all is not copied.
    response
        Rows of R, shape (n_rows, n_shells), such as `SourcePlanes.response`.

    Raises
    ------
    DataError
        If the shells have different numbers of pixels.
    """
    sizes = {one.size for one in delta}
    if len(sizes) > 1:
        raise DataError(
            f"a tier's shells have {sorted(sizes)} pixels; give all of them simulate.nside."
        )
    kind = np.result_type(np.float32, *delta)
    response = response.astype(kind)
    kappa = np.empty((len(response), *sizes), dtype=kind)
    # block by block: no second copy of all shells
    for start in range(0, kappa.shape[1], BLOCK):
        part = slice(start, start + BLOCK)
        if isinstance(delta, np.ndarray):
            shells = delta[:, part]
        else:
            shells = np.stack([one[part] for one in delta])
        np.matmul(response, shells, out=kappa[:, part])
    return kappa


def shear(kappa: np.ndarray, ell_max: int, pixel: np.ndarray) -> np.ndarray:
    """Return the shear in some pixels, shape (n_bins, 2, n_pix), from full-sky convergence.

    One pass over the pixels (`harmonics.project`): the iterations of `harmonics.analyse` would
    double the transforms of a cheap sim.

    Parameters
    ----------
    kappa
        Shape (n_bins, 12 nside^2), RING.
    ell_max
        Band limit of the shear.
    pixel
        The pixels wanted, in RING numbers.
    """
    nside = harmonics.nside_of(kappa)
    factor = harmonics.shear_factor(ell_max)[harmonics.degrees(ell_max)].astype(kappa.dtype)
    gamma = np.empty((len(kappa), 2, pixel.size), dtype=kappa.dtype)
    for b, one in enumerate(kappa):
        alm = factor * harmonics.project(one, ell_max)
        gamma[b] = harmonics.synthesise_shear(alm, nside, ell_max, pixel)
    return gamma


def clustered_shear(
    delta: Sequence[np.ndarray] | np.ndarray,
    planes: SourcePlanes,
    bias: float,
    ell_max: int,
    pixel: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean shear of sources that trace the density, and how many there are.

    Parameters
    ----------
    delta
        Density contrast of the shells, each of shape (12 nside^2,), RING.
    planes
        Sources and what lenses them.
    bias
        Linear bias of the sources.
    ell_max
        Band limit of the shear.
    pixel
        The pixels wanted, in RING numbers.

    Returns
    -------
    shear
        Shape (n_bins, 2, n_pix), zero where there are no sources.
    density
        Sources in each pixel relative to the mean, shape (n_bins, n_pix).

    Notes
    -----
    Along a line of sight the shear of each shell counts as often as there are sources,
    sum_i n_i (1 + b delta_i) gamma_i / sum_i n_i (1 + b delta_i), as in
    arXiv:2307.13860.

    ASSUME the bias is the same for all sources, and there are none where 1 + b delta is negative.
    """
    total = np.zeros((len(planes.shares), 2, pixel.size))
    density = np.zeros((len(planes.shares), pixel.size))
    lensed = convergence(delta, planes.convergence)
    for contrast, kappa, share in zip(delta, lensed, planes.shares.T, strict=True):
        sources = share[:, None] * np.maximum(1 + bias * contrast[pixel], 0)
        total += sources[:, None] * shear(kappa[None], ell_max, pixel)
        density += sources
    return total / np.where(density > 0, density, 1)[:, None], density


def convergence_of(shear: np.ndarray, nside: int, ell_max: int) -> np.ndarray:
    """Return the convergence, shape (n_bins, n_pix), of the E modes of shear (n_bins, 2, n_pix)."""
    factor = harmonics.shear_factor(ell_max)[harmonics.degrees(ell_max)]
    inverse = np.divide(1.0, factor, out=np.zeros_like(factor), where=factor != 0)
    e_modes = (harmonics.analyse(pair, ell_max, spin=2)[0] for pair in shear)
    return np.stack([harmonics.synthesise(alm * inverse, nside, ell_max) for alm in e_modes])
