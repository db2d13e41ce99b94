"""How alike the two members of a pair are: correlation r(l), power ratio, whiteness of the phases.

And how often the box of the mesh tiers repeats on the light cone.

All spectra are those of noiseless full-sky convergence, averaged over bands of l with weights
2l + 1; r and the power ratio are formed sim by sim from band averages.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mflens.compress.bandpowers import average_bands
from mflens.errors import DataError
from mflens.simulate import harmonics
from mflens.simulate.mesh.lightcone import repeated_share
from mflens.theory.kernels import Shells

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


def correlate_partly(
    low: np.ndarray,
    high: np.ndarray,
    ell_max: int,
    edges: Sequence[int],
    fractions: Sequence[float],
) -> np.ndarray:
    """Return the correlation that is left when pairs share only some of their modes.

    Parameters
    ----------
    low, high, ell_max, edges
        As for `compare_pairs`.
    fractions
        Share of the modes (l, m) that the cheap member keeps; the others come from another sim.

    Returns
    -------
    array
        Shape (n_fractions, n, n_bins, n_bands).
    """
    # one draw for all shares, so that the modes of a small one are among those of a larger one
    position = np.random.default_rng(0).random((len(low), 1, low.shape[-1]))
    strangers = np.roll(low, 1, axis=0)

    def correlate(fraction: float) -> np.ndarray:
        mixed = np.where(position < fraction, low, strangers)
        norm = band_spectrum(mixed, mixed, ell_max, edges) * power
        return band_spectrum(high, mixed, ell_max, edges) / np.sqrt(norm)

    power = band_spectrum(high, high, ell_max, edges)
    return np.stack([correlate(fraction) for fraction in fractions])


def summarise_pairing(
    levels: Sequence[dict[str, np.ndarray]], ladder: Sequence[str], edges: Sequence[int]
) -> pd.DataFrame:
    """Return the means over sims, one row per two neighbouring tiers, bin and band.

    Parameters
    ----------
    levels
        What `compare_pairs` returned for every two neighbours of the ladder.
    ladder
        Names of the tiers, cheapest first.
    edges
        Band edges.
    """
    names = ["r_matched", "r_unmatched", "power_ratio"]
    rows = [
        [lower, upper, b + 1, low, high, *(float(level[name][:, b, band].mean()) for name in names)]
        for level, lower, upper in zip(levels, ladder[:-1], ladder[1:], strict=True)
        for b in range(level["r_matched"].shape[1])
        for band, low, high in _bands(edges)
    ]
    return pd.DataFrame(rows, columns=["low", "high", "bin", "ell_min", "ell_max", *names])


def summarise_replication(shells: Shells, box: float) -> pd.DataFrame:
    """Return how often the periodic box fills every shell.

    Parameters
    ----------
    shells
        The shells.
    box
        Side of the box in Mpc/h.

    Returns
    -------
    DataFrame
        One row a shell, nearest first: `chi_min_mpc_h`, `chi_max_mpc_h`; `boxes`, the volume
        inside the shell's outer edge over that of the box, so how often one structure of the box
        stands in the light cone up to there; `repeats`, how often a line of sight along an axis of
        the box has passed the same structure; `repeated`, the share of the shell's volume that is
        seen nearer by as well; `ell_box`, the multipole of the box's fundamental
        mode, below which the light cone lacks power.
    """
    low, high = shells.edges[:-1], shells.edges[1:]
    return pd.DataFrame(
        {
            "shell": np.arange(shells.n_shells) + 1,
            "chi_min_mpc_h": low,
            "chi_max_mpc_h": high,
            "boxes": 4 * np.pi / 3 * (high / box) ** 3,
            "repeats": high / box,
            "repeated": repeated_share(shells, box),
            "ell_box": 2 * np.pi * 0.5 * (low + high) / box,
        }
    )


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
