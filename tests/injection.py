"""GLASS's own sampler fed with prescribed coefficients, to compare ours with it."""

import numpy as np


def glass_order(ell_max: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (l, m) in GLASS's order 00, 10, 11, 20, 21, 22, ..."""
    ell = np.repeat(np.arange(ell_max + 1), np.arange(1, ell_max + 2))
    return ell, np.arange(ell.size) - ell * (ell + 1) // 2


class InjectedHarmonics:
    """Stands in for the generator of `glass.generate` and hands out prescribed coefficients.

    GLASS asks once per shell for normals of shape (n, 2), l-major, and makes the coefficients
    (x_0 + i x_1) sqrt(C_l / 2), taking x_0 + x_1 for m = 0. `alm`: unit variance, shape
    (n_shells, n_alm), healpy's order.
    """

    def __init__(self, alm: np.ndarray, ell_max: int) -> None:
        ell, m = glass_order(ell_max)
        values = alm[:, m * (2 * ell_max + 1 - m) // 2 + ell]
        general = np.sqrt(2) * np.stack([values.real, values.imag], axis=-1)
        zonal = np.repeat(values.real[..., None], 2, axis=-1) / np.sqrt(2)
        self._pairs = iter(np.where((m == 0)[:, None], zonal, general))

    def standard_normal(self, size: tuple[int, int], dtype: object = None) -> np.ndarray:
        """Return the next shell's numbers."""
        pairs = next(self._pairs)
        assert pairs.shape == tuple(size)
        return pairs
