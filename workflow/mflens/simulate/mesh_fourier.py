"""Fourier transforms of real meshes by ducc0, in numpy's conventions."""

import ducc0
import numba
import numpy as np


def to_modes(field: np.ndarray) -> np.ndarray:
    """Return numpy's rfftn of meshes, shape (..., n, n, n) to (..., n, n, n // 2 + 1)."""
    return ducc0.fft.r2c(field, axes=_axes(field), nthreads=numba.get_num_threads())


def to_field(modes: np.ndarray) -> np.ndarray:
    """Return numpy's irfftn of meshes, the inverse of `to_modes`; `modes` are overwritten."""
    return ducc0.fft.c2r(
        modes,
        axes=_axes(modes),
        lastsize=modes.shape[-2],
        forward=False,
        inorm=2,
        nthreads=numba.get_num_threads(),
        allow_overwriting_input=True,
    )


def _axes(mesh: np.ndarray) -> list[int]:
    return list(range(mesh.ndim - 3, mesh.ndim))
