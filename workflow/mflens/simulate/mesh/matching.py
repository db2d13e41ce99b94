"""Seed matching: unit harmonic coefficients for GLASS that carry the phases of a mesh.

The linear density that the N-body run evolves, carried along by its own flow, is projected onto the
shells and whitened across shells at each l with the covariance it has by theory; the result is
white by construction and replaces the normals that GLASS would draw.
"""

from collections.abc import Sequence

import numpy as np
from numba import prange

from mflens.compiled import compiled
from mflens.simulate import harmonics
from mflens.simulate.harmonics import degrees
from mflens.simulate.mesh.lightcone import FIRST_OBSERVER, INTERPOLATION, LightCone, Mesh, Observer
from mflens.simulate.mesh.mesh_fourier import to_modes
from mflens.simulate.mesh.transport import transport
from mflens.simulate.randomness import BaseMeasure
from mflens.theory.cosmology import Cosmology
from mflens.theory.kernels import Shells
from mflens.theory.spectra import (
    ShellGrowth,
    continuum_measure,
    grid_shares,
    interpolate_log,
    lattice_measure,
    matter_spectra,
)

FILL = 0.25
FUNDAMENTAL = 0.6
FINENESS = 1.5  # of lines of sight that see all images but the faintest
N_COMPARED = 8  # calibration draws that are projected along these as well


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
    images = image_power(k, power, mesh, mesh.cuts(shells)) * growth.mean[:, None] ** 2
    covariance = matter_spectra(kernels, k, growth, kept * lattice + images, np.ones_like(k))
    full = matter_spectra(kernels, k, growth, linear, continuum_measure(k))
    diagonal = np.arange(shells.n_shells)
    available, wanted = covariance[:, diagonal, diagonal], full[:, diagonal, diagonal]
    fill = np.maximum(FILL * wanted - available, 0.0)
    fill = np.maximum(fill, 1e-6 * wanted)
    covariance[:, diagonal, diagonal] += fill
    return covariance, fill


def image_power(k: np.ndarray, power: np.ndarray, mesh: Mesh, cuts: np.ndarray) -> np.ndarray:
    """Return the power of the images that linear interpolation adds to a mesh, measure included.

    A mode n of the mesh has images at n + m n_mesh, weaker by the ratio of the interpolation's
    windows: 7 per cent of the mesh's power when it is kept to Nyquist, less where a shell's cut is
    lower. Images up to m = 1 along each axis are counted, and correlations between images of the
    same mode are not. Images beyond `k` are dropped.

    Parameters
    ----------
    k, power
        Wavenumbers (h/Mpc) and linear power ((Mpc/h)^3), shapes (n_k,).
    mesh
        The box.
    cuts
        Largest wavenumber kept in each shell, shape (n_shells,).

    Returns
    -------
    array
        On `k`, shape (n_shells, n_k); what `lattice_measure` times power is for the modes.
    """
    n, half = mesh.n_mesh, mesh.n_mesh // 2
    fundamental = 2 * np.pi / mesh.box_mpc_h
    modes = fundamental * np.sqrt(np.arange(3 * (n + half) ** 2 + 1))
    inside = modes[: 3 * half**2 + 1]
    source = np.concatenate([[0.0], interpolate_log(k, power, inside[1:])])
    source *= 4 * np.pi / mesh.box_mpc_h**3
    # modes between two cuts are seen by all shells of larger cuts
    steps = np.unique(cuts)
    group = np.searchsorted(steps * (1 + 1e-6), inside)
    axis = (np.arange(half + 1) + n * np.array([[-1], [0], [1]])) / n
    ratio = (np.sinc(axis) / np.sinc(axis[1])) ** (2 * INTERPOLATION)
    parts = _sum_images(source, group, steps.size, ratio, *grid_shares(k, modes), k.size)
    return np.cumsum(parts, axis=0)[np.searchsorted(steps, cuts)]


@compiled("f8[::1]", "i8[::1]", "i8", "f8[:,::1]", "i8[::1]", "f8[::1]", "i8")
def _sum_images(
    source: np.ndarray,
    group: np.ndarray,
    n_groups: int,
    ratio: np.ndarray,
    right: np.ndarray,
    fraction: np.ndarray,
    n_k: int,
) -> np.ndarray:
    """Share out the images of the modes of an octant, for all octants, to a grid of wavenumbers."""
    half = ratio.shape[1] - 1
    total = np.zeros((n_groups, n_k))
    for i in range(half + 1):
        for j in range(half + 1):
            for m in range(half + 1):
                square = i * i + j * j + m * m
                if group[square] == n_groups:
                    continue
                row, signs = total[group[square]], 1.0
                for one in (i, j, m):
                    # an axis has one mode 0 and one at Nyquist, and two of all others
                    signs *= 1.0 if one in (0, half) else 2.0
                for a in range(3):
                    for b in range(3):
                        for c in range(3):
                            if a == 1 and b == 1 and c == 1:
                                continue
                            x, y, z = (
                                i + 2 * half * (a - 1), j + 2 * half * (b - 1),
                                m + 2 * half * (c - 1),
                            )  # fmt: skip
                            far = x * x + y * y + z * z
                            f = fraction[far]
                            if 0 <= f <= 1:
                                weight = signs * ratio[a, i] * ratio[b, j] * ratio[c, m]
                                weight *= source[square]
                                row[right[far] - 1] += weight * (1 - f)
                                row[right[far]] += weight * f
    return total


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


@compiled("f8[:,:,::1]", "const i8[::1]", "c16[:,::1]", parallel=True)
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
    (projected,) = project_moved([lightcone], density, colour, growth, observer)
    return _whitened(base, lightcone, projected, covariance, fill, variance)


def project_moved(
    lightcones: Sequence[LightCone],
    density: np.ndarray,
    colour: np.ndarray,
    growth: ShellGrowth,
    observer: Observer = FIRST_OBSERVER,
) -> np.ndarray:
    """Return the shells of the moved linear density, shape (n_lightcones, n_shells, n_alm).

    The light cones are those of one mesh; the other parameters are those of `matched_harmonics`.
    """
    first = lightcones[0]
    shape = (len(lightcones), first.shells.n_shells, degrees(first.ell_max).size)
    projected = np.empty(shape, dtype=complex)
    for some, moved in transport(density, colour, growth.mean, first.mesh):
        for one, lightcone in zip(projected, lightcones, strict=True):
            alm = lightcone.project(moved, growth.slope, 0, some, observer)
            one[some] = growth.mean[some, None] * alm
    return projected


def _whitened(
    base: BaseMeasure,
    lightcone: LightCone,
    projected: np.ndarray,
    covariance: np.ndarray,
    fill: np.ndarray,
    variance: np.ndarray,
) -> np.ndarray:
    """Return `matched_harmonics` of projected shells."""
    shells, ell_max = lightcone.shells, lightcone.ell_max
    ell = degrees(ell_max)
    fresh = base.harmonics("fill", shells.n_shells, ell_max)
    white = whiten(projected + np.sqrt(fill.T)[:, ell] * fresh, covariance)
    white /= np.sqrt(variance)[:, ell]
    # a mode that the box does not hold cannot be shared: draw it like any bulk simulation does
    unheld = fundamental_mask(shells, lightcone.mesh, ell_max)[:, ell]
    return np.where(unheld, base.harmonics("harmonics", shells.n_shells, ell_max), white)


def calibrate(
    seeds: Sequence[int],
    cosmology: Cosmology,
    lightcone: LightCone,
    covariance: np.ndarray,
    fill: np.ndarray,
) -> np.ndarray:
    """Return the variance of whitened coefficients beyond theory, from draws of a cosmology.

    Parameters
    ----------
    seeds
        Seeds of the draws, to be used for nothing else.
    cosmology
        The cosmology.
    lightcone
        The projection.
    covariance, fill
        Output of `linear_covariance`.

    Returns
    -------
    array
        Shape (n_shells, n_ell), 1 where theory holds.
    """
    shells, mesh, ell_max = lightcone.shells, lightcone.mesh, lightcone.ell_max
    finer = LightCone(shells, mesh, ell_max, FINENESS)
    colour = linear_colour(mesh, cosmology.k, cosmology.linear)
    unity = np.ones((shells.n_shells, ell_max + 1))
    spectra, noise = [], []
    for number, seed in enumerate(seeds):
        base = BaseMeasure(seed)
        density = linear_density(base, mesh, cosmology.k, cosmology.linear)
        lightcones = [lightcone, finer] if number < N_COMPARED else [lightcone]
        projected = project_moved(lightcones, density, colour, cosmology.shell_growth)
        white = _whitened(base, lightcone, projected[0], covariance, fill, unity)
        spectra.append(harmonics.cross_spectrum(white, white, ell_max))
        if len(projected) > 1:
            error = whiten(projected[0] - projected[1], covariance)
            noise.append(harmonics.cross_spectrum(error, error, ell_max))
    return combine_variance(np.stack(spectra), np.stack(noise), shells, mesh)


def combine_variance(
    spectra: np.ndarray, noise: np.ndarray, shells: Shells, mesh: Mesh
) -> np.ndarray:
    """Return the calibration of the whitened variance from spectra of calibration draws.

    Theory knows the images of the mesh's interpolation, but not that the finest of them alias on
    the lines of sight: noise of a few thousandths of a far shell's power, but a twentieth of what
    it holds beyond the nearer shells, which show the same modes of a repeated box. A draw measures
    this noise by itself, as the difference to finer lines of sight. Near the mesh's Nyquist
    wavenumber all of the variance is measured. Both are smoothed over the multipoles that the box
    holds.

    Parameters
    ----------
    spectra
        Auto-spectra of whitened coefficients, shape (n_draws, n_shells, n_ell).
    noise
        Those of their differences to finer lines of sight, shape (n_compared, n_shells, n_ell).
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
    held = ~fundamental_mask(shells, mesh, n_ell - 1)
    weight = np.maximum(held @ kernel.T, np.finfo(float).tiny)
    measured, added = ((one.mean(axis=0) * held) @ kernel.T / weight for one in (spectra, noise))
    nyquist = np.pi * mesh.n_mesh / mesh.box_mpc_h
    beyond = held & ((ell + 0.5) / shells.edges[1:, None] > 0.5 * nyquist)
    return np.where(beyond, measured, 1.0 + added)
