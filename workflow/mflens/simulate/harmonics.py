"""Spherical-harmonic transforms of HEALPix maps by ducc0; nothing is looked up or downloaded.

With ell_max <= 2 nside the transforms need no ring or pixel weights.
Shear has one convention everywhere: HEALPix's axes (COSMO), x to the South and y to the East, so
that gamma_1 < 0 south of a peak of the convergence. Other axes are turned where they are read.
Transforms of single precision stay in it, right to 3e-6 of the rms.
"""

from collections.abc import Callable
from functools import cache

import ducc0
import numpy as np

from mflens.simulate.threads import n_threads, spread

SWEEPS = 3
NSIDE_WITH_B = 256  # from here on ducc0 takes less time over E and B modes than over E alone


@cache
def _geometry(nside: int) -> dict[str, np.ndarray]:
    return ducc0.healpix.Healpix_Base(nside, "RING").sht_info()


def nside_of(maps: np.ndarray) -> int:
    """Return the resolution of full-sky maps, shape (..., 12 nside^2)."""
    return int(round(np.sqrt(maps.shape[-1] / 12)))


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
        alm=np.atleast_2d(alm), lmax=ell_max, spin=spin, nthreads=n_threads(), **_geometry(nside)
    )
    return result if spin else result[0]


def synthesise_many(
    alm: np.ndarray,
    nside: int,
    ell_max: int,
    then: Callable[[int, np.ndarray], None] | None = None,
) -> np.ndarray:
    """Return the maps, shape (n, n_pix), RING, of scalar coefficients, shape (n, n_alm).

    `then(i, map)` changes each map in place while a core's cache still holds it.
    """
    # numpy's memory, unlike ducc0's own, comes in large pages
    maps = np.empty((len(alm), 12 * nside**2), dtype=alm.real.dtype)
    # a thread for each map: small transforms gain little from several
    options = {"lmax": ell_max, "spin": 0, "nthreads": max(1, n_threads() // len(alm))}

    def fill(i: int) -> None:
        ducc0.sht.synthesis(alm=alm[i, None], map=maps[i, None], **options, **_geometry(nside))
        if then is not None:
            then(i, maps[i])

    spread(fill, range(len(alm)))
    return maps


def synthesise_shear(
    e_modes: np.ndarray, nside: int, ell_max: int, pixel: np.ndarray
) -> np.ndarray:
    """Return the shear of E modes alone in some pixels, shape (2, n_pix).

    Parameters
    ----------
    e_modes
        Shape (n_alm,), healpy's order.
    nside, ell_max
        Resolution of the map and band limit.
    pixel
        RING numbers; only rings between the first and the last of them are computed.
    """
    geometry = _geometry(nside)
    first, last = np.searchsorted(geometry["ringstart"], [pixel.min(), pixel.max()], side="right")
    rings = {name: value[first - 1 : last] for name, value in geometry.items()}
    if nside < NSIDE_WITH_B:
        modes, mode = e_modes[None], "GRAD_ONLY"
    else:
        modes, mode = np.stack([e_modes, np.zeros_like(e_modes)]), "STANDARD"
    both = ducc0.sht.synthesis(
        alm=modes, lmax=ell_max, spin=2, mode=mode, nthreads=n_threads(), **rings
    )
    return np.take(both, pixel, axis=1)


def analyse(maps: np.ndarray, ell_max: int, spin: int = 0) -> np.ndarray:
    """Return the harmonic coefficients of maps, the inverse of `synthesise`.

    The sum over pixels is corrected three times by what its own map leaves over, as healpy does:
    for ell_max <= 2 nside within 1e-5 of the least-squares solution, while a map that is not
    band-limited, such as a lognormal one, has an error of 4e-3 from aliasing at nside 64.
    """
    nside = nside_of(maps)
    alm = project(maps, ell_max, spin)
    for _ in range(SWEEPS):
        alm += project(maps - synthesise(alm, nside, ell_max, spin), ell_max, spin)
    return alm


def project(maps: np.ndarray, ell_max: int, spin: int = 0) -> np.ndarray:
    """Return pseudo-coefficients: the plain sum over pixels of the map times Y*.

    For ell_max <= 2 nside they are within 3e-3 of the coefficients at nside 64, their spectra
    within 2e-4 and a map made of them within 2e-3 rms, a tenth in a few pixels next to the poles.
    A map that is not band-limited, such as a lognormal one, has a larger error from aliasing,
    which iterations leave as it is.
    """
    maps = np.atleast_2d(np.asarray(maps, dtype=np.result_type(maps, np.float32)))
    nside = nside_of(maps)
    alm = ducc0.sht.adjoint_synthesis(
        map=maps, lmax=ell_max, spin=spin, nthreads=n_threads(), **_geometry(nside)
    )
    alm *= 4 * np.pi / maps.shape[-1]
    return alm if spin else alm[0]


@cache
def degrees(ell_max: int) -> np.ndarray:
    """Return l of every coefficient in healpy's order."""
    ell = np.concatenate([np.arange(m, ell_max + 1) for m in range(ell_max + 1)])
    ell.flags.writeable = False
    return ell


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
    """Return E_lm / kappa_lm = sqrt((l+2)(l-1) / (l (l+1))), zero below l = 2.

    Notes
    -----
    E_lm in healpy's convention, gamma_1 +- i gamma_2 = -sum (E_lm +- i B_lm) Y^{+-2}_lm in COSMO
    axes. GLASS (arXiv:2302.01942) has the opposite sign, its shear being that of axes East, North.
    """
    ell = np.arange(ell_max + 1, dtype=float)
    factor = np.zeros(ell_max + 1)
    factor[2:] = np.sqrt((ell[2:] + 2) * (ell[2:] - 1) / (ell[2:] * (ell[2:] + 1)))
    return factor
