"""Pseudo band powers of masked shear maps."""

from collections.abc import Sequence

import numpy as np

from mflens.simulate import harmonics


def measure_band_powers(
    maps: np.ndarray, pixel: np.ndarray, nside: int, bands: Sequence[int]
) -> tuple[np.ndarray, list[str]]:
    """Return pseudo band powers of E between all bins and of B in each bin.

    The mask's mode coupling and the noise bias are left in: both are the same for every sim and
    tier, which is all that a compression needs.

    Parameters
    ----------
    maps
        Shear in the footprint, shape (n, n_bins, 2, n_pix).
    pixel
        NESTED pixel numbers, shape (n_pix,).
    nside
        Resolution.
    bands
        Edges in l, shape (n_bands + 1,); a band holds low <= l < high.

    Returns
    -------
    spectra
        Shape (n, n_features): C_l averaged over each band, divided by the sky fraction.
    labels
        Name of each feature, such as `E1E2_16_32`.
    """
    import healpy

    ring = healpy.nest2ring(nside, pixel)
    ell_max = int(bands[-1])
    n_bins = maps.shape[1]
    pairs = [(a, b) for a in range(n_bins) for b in range(a, n_bins)]
    features = np.empty((len(maps), (len(pairs) + n_bins) * (len(bands) - 1)))
    for row, sim in enumerate(maps):
        sky = np.zeros((n_bins, 2, 12 * nside**2))
        sky[:, :, ring] = sim
        alm = np.stack([harmonics.project(shear, ell_max, spin=2) for shear in sky])
        spectra = [harmonics.cross_spectrum(alm[a, 0], alm[b, 0], ell_max) for a, b in pairs]
        spectra += [harmonics.cross_spectrum(alm[a, 1], alm[a, 1], ell_max) for a in range(n_bins)]
        features[row] = average_bands(np.stack(spectra), bands).ravel()
    names = [f"E{a + 1}E{b + 1}" for a, b in pairs] + [f"B{a + 1}B{a + 1}" for a in range(n_bins)]
    spans = [f"{low}_{high}" for low, high in zip(bands[:-1], bands[1:], strict=True)]
    sky_fraction = pixel.size / (12 * nside**2)
    return features / sky_fraction, [f"{name}_{span}" for name in names for span in spans]


def average_bands(spectra: np.ndarray, bands: Sequence[int]) -> np.ndarray:
    """Average C_l, shape (..., n_ell), over bands with weights 2l + 1; shape (..., n_bands)."""
    ell = np.arange(spectra.shape[-1])
    columns = []
    for low, high in zip(bands[:-1], bands[1:], strict=True):
        weight = np.where((ell >= low) & (ell < high), 2 * ell + 1, 0)
        columns.append(spectra @ weight / weight.sum())
    return np.stack(columns, axis=-1)
