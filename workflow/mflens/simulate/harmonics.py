"""Spherical-harmonic transforms of HEALPix maps by ducc0; nothing is looked up or downloaded.

With ell_max <= 2 nside the transforms need no ring or pixel weights (least-squares analysis).
Signs are healpy's: shear maps follow the COSMO convention.
"""

from functools import cache

import ducc0
import numpy as np


@cache
def _geometry(nside: int) -> dict[str, np.ndarray]:
    return ducc0.healpix.Healpix_Base(nside, "RING").sht_info()


def synthesise(alm: np.ndarray, nside: int, ell_max: int, spin: int = 0) -> np.ndarray:
    """Return maps of harmonic coefficients.

    Parameters
    ----------
    alm
        Shape (n_alm,) for spin 0, (2, n_alm) of E and B for spin 2; healpy's order.
    nside, ell_max, spin
        Resolution of the map, band limit and spin.

    Returns
    -------
    array
        Shape (n_pix,) or (2, n_pix), RING ordering.
    """
    result = ducc0.sht.synthesis(
        alm=np.atleast_2d(alm), lmax=ell_max, spin=spin, nthreads=1, **_geometry(nside)
    )
    return result if spin else result[0]


def analyse(maps: np.ndarray, ell_max: int, spin: int = 0, accuracy: float = 1e-6) -> np.ndarray:
    """Return the least-squares harmonic coefficients of maps, the inverse of `synthesise`."""
    maps = np.atleast_2d(np.asarray(maps, dtype=float))
    nside = int(round(np.sqrt(maps.shape[-1] / 12)))
    alm = ducc0.sht.pseudo_analysis(
        map=maps, lmax=ell_max, spin=spin, nthreads=1, maxiter=20, epsilon=accuracy,
        **_geometry(nside),
    )[0]  # fmt: skip
    return alm if spin else alm[0]


def project(maps: np.ndarray, ell_max: int, spin: int = 0) -> np.ndarray:
    """Return pseudo-coefficients: the plain sum over pixels of the map times Y*."""
    maps = np.atleast_2d(np.asarray(maps, dtype=float))
    nside = int(round(np.sqrt(maps.shape[-1] / 12)))
    alm = ducc0.sht.adjoint_synthesis(
        map=maps, lmax=ell_max, spin=spin, nthreads=1, **_geometry(nside)
    )
    alm = alm * (4 * np.pi / maps.shape[-1])
    return alm if spin else alm[0]


def degrees(ell_max: int) -> np.ndarray:
    """Return l of every coefficient in healpy's order."""
    return np.concatenate([np.arange(m, ell_max + 1) for m in range(ell_max + 1)])


def cross_spectrum(a: np.ndarray, b: np.ndarray, ell_max: int) -> np.ndarray:
    """Return C_l of coefficients a and b, shape (..., ell_max + 1)."""
    weights = np.full(a.shape[-1], 2.0)
    weights[: ell_max + 1] = 1.0
    product = weights * (a * b.conj()).real
    ell = degrees(ell_max)
    flat = product.reshape(-1, a.shape[-1])
    sums = np.stack([np.bincount(ell, row, minlength=ell_max + 1) for row in flat])
    return (sums / (2 * np.arange(ell_max + 1) + 1)).reshape(*product.shape[:-1], ell_max + 1)


def shear_factor(ell_max: int) -> np.ndarray:
    """Return gamma_lm / kappa_lm = -sqrt((l+2)(l-1) / (l (l+1))), zero below l = 2."""
    ell = np.arange(ell_max + 1, dtype=float)
    factor = np.zeros(ell_max + 1)
    factor[2:] = -np.sqrt((ell[2:] + 2) * (ell[2:] - 1) / (ell[2:] * (ell[2:] + 1)))
    return factor
