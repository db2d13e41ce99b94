"""Weak lensing in the Born approximation: from density shells to convergence and shear.

Convergence is linear in the shells, kappa = R delta, with one matrix R for each cosmology and
survey; all tiers share it. Sources that cluster weight the line of sight, pixel by pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mflens.errors import DataError
from mflens.simulate import harmonics

BLOCK = 2**14  # pixels of all shells that a core's cache holds


@dataclass(frozen=True)
class SourcePlanes:
    """Where the sources of a survey are and what lenses them.

    Attributes
    ----------
    response
        What a unit density contrast of each shell adds to the convergence of each bin: R of
        kappa = R delta, shape (n_bins, n_shells).
    shares
        Share of each bin's sources in each shell, shape (n_bins, n_shells).
    convergence
        The same as `response` for sources that fill each shell evenly (first axis), shape
        (n_shells, n_shells), which sources that cluster need.
    """

    response: np.ndarray
    shares: np.ndarray
    convergence: np.ndarray


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
    arXiv:2307.13860. What the sources' places inside the shells do to the mean shear, R delta, is
    added: without clustering it is that of R.

    ASSUME the bias is the same for all sources, and there are none where 1 + b delta is negative.
    """
    plain = shear(convergence(delta, planes.response), ell_max, pixel)
    total, density = np.zeros(plain.shape), np.zeros((len(plain), pixel.size))
    lit = [int(i) for i in np.flatnonzero(planes.shares.any(axis=0))]
    lensed = convergence(delta, planes.convergence[lit])
    for i, kappa in zip(lit, lensed, strict=True):
        share = planes.shares[:, i, None]
        sources = share * np.maximum(1 + bias * delta[i][pixel], 0)
        gamma = shear(kappa[None], ell_max, pixel)
        total += sources[:, None] * gamma
        plain -= share[:, None] * gamma
        density += sources
    mean = total / np.where(density > 0, density, 1)[:, None]
    return np.where(density[:, None] > 0, plain + mean, 0), density


def convergence_of(shear: np.ndarray, nside: int, ell_max: int) -> np.ndarray:
    """Return the convergence, shape (n_bins, n_pix), of the E modes of shear (n_bins, 2, n_pix)."""
    factor = harmonics.shear_factor(ell_max)[harmonics.degrees(ell_max)]
    inverse = np.divide(1.0, factor, out=np.zeros_like(factor), where=factor != 0)
    e_modes = (harmonics.analyse(pair, ell_max, spin=2)[0] for pair in shear)
    return np.stack([harmonics.synthesise(alm * inverse, nside, ell_max) for alm in e_modes])
