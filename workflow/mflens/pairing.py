"""How alike the two members of a pair are: correlation r(l), power ratio, whiteness of the phases.

All spectra are those of noiseless full-sky convergence, averaged over bands of l with weights
2l + 1; r and the power ratio are formed sim by sim from band averages.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mflens.errors import DataError
from mflens.simulate import harmonics
from mflens.simulate.bandpowers import average_bands

ELL_MIN = 2  # the convergence behind a shear map has neither monopole nor dipole


def pairing_edges(bands: Sequence[int]) -> list[int]:
    """Return the edges of the band powers, with one more band below them down to l = 2."""
    return [ELL_MIN, *bands] if bands[0] > ELL_MIN else list(bands)


def octave_edges(ell_max: int) -> list[int]:
    """Return the edges 2, 8, 16, 32, ... of bands that end behind l = ell_max."""
    edges = [ELL_MIN]
    low = 8
    while low <= ell_max:
        edges.append(low)
        low *= 2
    # a single left-over l would be too noisy a band, so it joins the one below
    if ell_max + 1 - edges[-1] <= edges[-1] // 2 and len(edges) > 1:
        edges.pop()
    return [*edges, ell_max + 1]


def convergence_harmonics(convergence: np.ndarray, ell_max: int) -> np.ndarray:
    """Return the harmonic coefficients of convergence maps.

    Parameters
    ----------
    convergence
        Full sky, RING order, shape (n, n_bins, n_pix).
    ell_max
        Band limit of the maps.

    Returns
    -------
    array
        Shape (n, n_bins, n_alm), healpy's order.
    """
    return np.stack([[harmonics.analyse(kappa, ell_max) for kappa in sim] for sim in convergence])


def band_spectrum(a: np.ndarray, b: np.ndarray, ell_max: int, edges: Sequence[int]) -> np.ndarray:
    """Return the cross-spectrum of coefficients, shape (..., n_alm), in bands, (..., n_bands)."""
    return average_bands(harmonics.cross_spectrum(a, b, ell_max), edges)


def compare_pairs(
    low: np.ndarray, high: np.ndarray, ell_max: int, edges: Sequence[int]
) -> dict[str, np.ndarray]:
    """Compare the members of pairs with each other and with those of other pairs.

    Parameters
    ----------
    low, high
        Coefficients of the cheap and of the expensive member, shape (n, n_bins, n_alm).
    ell_max
        Band limit.
    edges
        Band edges; a band holds low <= l < high.

    Returns
    -------
    dict
        Three arrays of shape (n, n_bins, n_bands): `r_matched`, the correlation coefficient
        C^lh / sqrt(C^ll C^hh); `r_unmatched`, that of the high member with the low member of
        another sim, averaged over all other sims; `power_ratio`, C^hh / C^ll.

    Raises
    ------
    DataError
        If there are fewer than two sims, so that nothing is unmatched.
    """
    n = len(high)
    if n < 2:
        raise DataError(
            f"{n} pairs keep their convergence but two are needed to compare matched with "
            "unmatched sims; raise simulate.n_convergence."
        )
    power_low = band_spectrum(low, low, ell_max, edges)
    power_high = band_spectrum(high, high, ell_max, edges)

    def correlate(shift: int) -> np.ndarray:
        cross = band_spectrum(high, np.roll(low, shift, axis=0), ell_max, edges)
        return cross / np.sqrt(power_high * np.roll(power_low, shift, axis=0))

    return {
        "r_matched": correlate(0),
        "r_unmatched": np.mean([correlate(shift) for shift in range(1, n)], axis=0),
        "power_ratio": power_high / power_low,
    }


def summarise_pairing(comparison: dict[str, np.ndarray], edges: Sequence[int]) -> pd.DataFrame:
    """Return the means over sims of what `compare_pairs` returned, one row per bin and band."""
    means = {name: array.mean(0) for name, array in comparison.items()}
    rows = [
        {"bin": b + 1, "ell_min": low, "ell_max": high}
        | {name: float(mean[b, band]) for name, mean in means.items()}
        for b in range(means["r_matched"].shape[0])
        for band, low, high in _bands(edges)
    ]
    columns = ["bin", "ell_min", "ell_max", "r_matched", "r_unmatched", "power_ratio"]
    return pd.DataFrame(rows, columns=columns)


def summarise_whitening(white_spectra: np.ndarray, edges: Sequence[int]) -> pd.DataFrame:
    """Return the variance of the whitened coefficients, one row per shell and band.

    Parameters
    ----------
    white_spectra
        Spectra of the coefficients that the cheap tier is fed with, shape (n, n_shells, n_ell);
        their expectation is 1. No sims (nothing was matched to a mesh) give no rows.
    edges
        Band edges.

    Returns
    -------
    DataFrame
        Columns `shell` (from 1, nearest first), `ell_min`, `ell_max`, `variance` (mean over sims)
        and its standard `error`.
    """
    columns = ["shell", "ell_min", "ell_max", "variance", "error"]
    n = len(white_spectra)
    if n == 0:
        return pd.DataFrame(columns=columns)
    banded = average_bands(white_spectra, edges)
    mean = banded.mean(0)
    error = banded.std(0, ddof=1) / n**0.5 if n > 1 else np.full_like(mean, np.nan)
    rows = [
        [shell + 1, low, high, float(mean[shell, band]), float(error[shell, band])]
        for shell in range(mean.shape[0])
        for band, low, high in _bands(edges)
    ]
    return pd.DataFrame(rows, columns=columns)


def _bands(edges: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    for band, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        yield band, int(low), int(high)
