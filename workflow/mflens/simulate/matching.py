"""Seed matching: unit harmonic coefficients for GLASS that carry the phases of a mesh.

The linear density that the N-body run evolves, carried along by its own flow, is projected onto the
shells and whitened across shells at each l with the covariance it has by theory; the result is
white by construction and replaces the normals that GLASS would draw.
"""

import numpy as np
from numba import njit, prange

from mflens.simulate.harmonics import degrees
from mflens.simulate.lightcone import FIRST_OBSERVER, LightCone, Mesh, Observer
from mflens.simulate.mesh_fourier import to_modes
from mflens.simulate.randomness import BaseMeasure
from mflens.simulate.transport import transport
from mflens.theory.kernels import Shells
from mflens.theory.spectra import (
    ShellGrowth,
    continuum_measure,
    interpolate_log,
    lattice_measure,
    matter_spectra,
)

FILL = 0.25
FUNDAMENTAL = 0.6


def linear_density(base: BaseMeasure, mesh: Mesh, k: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return the Fourier mesh of the linear density contrast today.

    Parameters
    ----------
    base
        The random numbers.
    mesh
        The box.
    k, power
        Linear power today: h/Mpc and (Mpc/h)^3, shapes (n_k,).

    Returns
    -------
    array
        numpy's rfftn convention, shape (n, n, n // 2 + 1), complex64.
    """
    return to_modes(base.white_noise(mesh.n_mesh)) * linear_colour(mesh, k, power)


def linear_colour(mesh: Mesh, k: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return what makes the linear density of white noise, shape (n, n, n // 2 + 1), float32."""
    n = mesh.n_mesh
    # |k|^2 takes few values on a mesh: integers in units of the box's fundamental mode
    axis = np.fft.fftfreq(n, 1 / n).astype(int) ** 2
    square = axis[:, None, None] + axis[None, :, None] + axis[None, None, : n // 2 + 1]
    modes = 2 * np.pi / mesh.box_mpc_h * np.sqrt(np.arange(1, square.max() + 1))
    cell = (mesh.box_mpc_h / n) ** 3
    colour = np.sqrt(interpolate_log(k, power, modes) / cell).astype(np.float32)
    return np.concatenate([np.zeros(1, dtype=np.float32), colour])[square]


def linear_covariance(
    kernels: np.ndarray,
    k: np.ndarray,
    growth: ShellGrowth,
    power: np.ndarray,
    shells: Shells,
    mesh: Mesh,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariance of the projected linear mesh and the power that it lacks.

    Where the box has less than a quarter of the linear power (l below its fundamental mode, or
    beyond its Nyquist wavenumber) the rest up to that quarter is filled with fresh modes, so that
    the covariance stays positive definite.

    Parameters
    ----------
    kernels, k
        Projection kernels and their wavenumbers (`compute_kernels`).
    growth
        Growth in the shells.
    power
        Linear power today on `k`, shape (n_k,).
    shells, mesh
        The shells and the box.

    Returns
    -------
    covariance
        Shape (n_ell, n_shells, n_shells), the fill included.
    fill
        Variance of the fill, shape (n_ell, n_shells).
    """
    linear = power * growth.mean[:, None] ** 2
    kept = linear * (k <= mesh.cuts(shells)[:, None])
    lattice = lattice_measure(k, mesh.n_mesh, mesh.box_mpc_h)
    covariance = matter_spectra(kernels, k, growth, kept, lattice)
    full = matter_spectra(kernels, k, growth, linear, continuum_measure(k))
    diagonal = np.arange(shells.n_shells)
    available, wanted = covariance[:, diagonal, diagonal], full[:, diagonal, diagonal]
    fill = np.maximum(FILL * wanted - available, 0.0)
    fill = np.maximum(fill, 1e-6 * wanted)
    covariance[:, diagonal, diagonal] += fill
    return covariance, fill


def whiten(alm: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return L_l^-1 a_lm with L the lower Cholesky factor of the shells' covariance.

    Parameters
    ----------
    alm
        Coefficients of the shells, shape (n_shells, n_alm), nearest shell first.
    covariance
        Shape (n_ell, n_shells, n_shells).
    """
    factor = np.linalg.cholesky(covariance)
    return _forward_substitution(factor, degrees(covariance.shape[0] - 1), alm)


@njit(cache=True, parallel=True)
def _forward_substitution(factor: np.ndarray, ell: np.ndarray, alm: np.ndarray) -> np.ndarray:
    """Return L^-1 a of each column, with the factor L of its l."""
    white = np.empty_like(alm)
    for column in prange(ell.size):
        lower = factor[ell[column]]
        for i in range(lower.shape[0]):
            left = alm[i, column]
            for j in range(i):
                left -= lower[i, j] * white[j, column]
            white[i, column] = left / lower[i, i]
    return white


def fundamental_mask(shells: Shells, mesh: Mesh, ell_max: int) -> np.ndarray:
    """Return which l of which shell lie too far below the box's fundamental mode to be matched.

    Returns
    -------
    array
        Boolean, shape (n_shells, ell_max + 1).
    """
    middle = 0.5 * (shells.edges[1:] + shells.edges[:-1])
    wavenumber = (np.arange(ell_max + 1) + 0.5) / middle[:, None]
    return wavenumber < FUNDAMENTAL * 2 * np.pi / mesh.box_mpc_h


def matched_harmonics(
    base: BaseMeasure,
    lightcone: LightCone,
    density: np.ndarray,
    colour: np.ndarray,
    growth: ShellGrowth,
    covariance: np.ndarray,
    fill: np.ndarray,
    variance: np.ndarray,
    observer: Observer = FIRST_OBSERVER,
) -> np.ndarray:
    """Return white coefficients, shape (n_shells, n_alm), with the phases of the moved mesh.

    Parameters
    ----------
    base
        The random numbers; those of the fill are fresh ones.
    lightcone
        The projection.
    density
        Fourier mesh of the linear density today (`linear_density`).
    colour
        Output of `linear_colour`.
    growth
        Growth in the shells.
    covariance, fill
        Output of `linear_covariance`.
    variance
        What calibration found the whitened variance to be, shape (n_shells, n_ell).
    observer
        Whose light cone it is.
    """
    shells, ell_max = lightcone.shells, lightcone.ell_max
    ell = degrees(ell_max)
    projected = np.empty((shells.n_shells, ell.size), dtype=complex)
    for some, moved in transport(density, colour, growth.mean, lightcone.mesh):
        alm = lightcone.project(moved, growth.slope, 0, some, observer)
        projected[some] = growth.mean[some, None] * alm
    fresh = base.harmonics("fill", shells.n_shells, ell_max)
    white = whiten(projected + np.sqrt(fill.T)[:, ell] * fresh, covariance)
    white /= np.sqrt(variance)[:, ell]
    # a mode that the box does not hold cannot be shared: draw it like any bulk simulation does
    unheld = fundamental_mask(shells, lightcone.mesh, ell_max)[:, ell]
    return np.where(unheld, base.harmonics("harmonics", shells.n_shells, ell_max), white)


def smooth_variance(spectra: np.ndarray, shells: Shells, mesh: Mesh) -> np.ndarray:
    """Return the calibration of the whitened variance from spectra of calibration draws.

    Theory is exact but for the mesh's interpolation, whose images matter near its Nyquist
    wavenumber: only there is the measured variance used, smoothed over l.

    Parameters
    ----------
    spectra
        Auto-spectra of whitened coefficients, shape (n_draws, n_shells, n_ell).
    shells, mesh
        The shells and the box.

    Returns
    -------
    array
        Shape (n_shells, n_ell), 1 where theory holds.
    """
    n_ell = spectra.shape[-1]
    ell = np.arange(n_ell)
    width = np.maximum(3.0, 0.06 * ell)
    kernel = (2 * ell + 1) * np.exp(-0.5 * ((ell[:, None] - ell) / width[:, None]) ** 2)
    smooth = spectra.mean(axis=0) @ (kernel / kernel.sum(axis=1, keepdims=True)).T
    nyquist = np.pi * mesh.n_mesh / mesh.box_mpc_h
    beyond = (ell + 0.5) / shells.edges[1:, None] > 0.5 * nyquist
    return np.where(beyond, smooth, 1.0)
