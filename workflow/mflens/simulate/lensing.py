"""Weak lensing in the Born approximation: from density shells to convergence and shear.

Convergence is linear in the shells, kappa = R delta, with one matrix R for each cosmology and
survey; all tiers share it.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import glass
import numpy as np

from mflens.simulate import harmonics
from mflens.theory.cosmology import N_Z_TABLE, Z_TABLE_MAX
from mflens.theory.kernels import Shells

if TYPE_CHECKING:
    from cosmology.compat.camb import Cosmology as Background

NODES_PER_SHELL = 64


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
    table = np.linspace(0.0, Z_TABLE_MAX, N_Z_TABLE)
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
    shares = np.asarray(glass.partition(z, n_of_z, windows))
    shares = shares.reshape(len(windows), len(n_of_z)).T
    return shares / shares.sum(axis=1, keepdims=True)


def response(shares: np.ndarray, windows: Sequence[Any], background: "Background") -> np.ndarray:
    """Return what a unit density contrast of each shell adds to each bin's convergence.

    Parameters
    ----------
    shares
        Share of each bin's sources in each shell (`source_shares`).
    windows
        Radial windows of the shells.
    background
        Distances, for GLASS.

    Returns
    -------
    array
        Shape (n_bins, n_shells).

    References
    ----------
    GLASS, arXiv:2302.01942: its recurrence over the lens planes, written as a matrix.
    """
    # ASSUME Born approximation: light follows the undeflected line of sight
    return shares @ np.asarray(glass.multi_plane_matrix(windows, background))


def convergence(shells: Iterable[np.ndarray], matrix: np.ndarray) -> np.ndarray:
    """Return the convergence of each bin, shape (n_bins, n_pix), RING.

    Parameters
    ----------
    shells
        Density contrast of each shell, nearest first, RING.
    matrix
        `response`, plus whatever else is linear in the shells, shape (n_bins, n_shells).
    """
    return matrix @ np.stack(list(shells))


def convergence_spectra(spectra: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the theory C_l of convergence of all pairs of bins, shape (n_ell, n_bins, n_bins).

    Parameters
    ----------
    spectra
        C_l^{ij} of density, shape (n_ell, n_shells, n_shells).
    matrix
        As for `convergence`.
    """
    return matrix @ spectra @ matrix.T


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
    factor = harmonics.shear_factor(ell_max)[harmonics.degrees(ell_max)]
    gamma = np.empty((len(kappa), 2, pixel.size))
    for b, one in enumerate(kappa):
        alm = factor * harmonics.project(one, ell_max)
        gamma[b] = harmonics.synthesise_shear(alm, nside, ell_max, pixel)
    return gamma
