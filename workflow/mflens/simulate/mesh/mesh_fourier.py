"""Fourier transforms of real meshes by FFTW, in numpy's conventions and single precision.

Plans are FFTW's estimates for aligned arrays: the same ones, and the same digits, in every run with
as many threads.
"""

from typing import Any

import numba
import numpy as np
import pyfftw
from numba import prange

from mflens.compiled import compiled


def to_modes(field: np.ndarray) -> np.ndarray:
    """Return numpy's rfftn of meshes, shape (..., n, n, n) to (..., n, n, n // 2 + 1)."""
    n = field.shape[-1]
    modes = pyfftw.empty_aligned((*field.shape[:-1], n // 2 + 1), dtype=np.complex64)
    _transform(field.astype(np.float32, copy=False), modes)
    return modes


def to_field(modes: np.ndarray) -> np.ndarray:
    """Return numpy's irfftn of meshes, the inverse of `to_modes`; it overwrites `modes`."""
    n = modes.shape[-2]
    field = pyfftw.empty_aligned((*modes.shape[:-1], n), dtype=np.float32)
    _transform(modes.astype(np.complex64, copy=False), field, "FFTW_DESTROY_INPUT")
    _scale(field.ravel(), np.float32(1 / n**3))
    return field


def _transform(source: np.ndarray, result: np.ndarray, *flags: str) -> None:
    options: dict[str, Any] = {
        "axes": (-3, -2, -1),
        "direction": "FFTW_BACKWARD" if np.iscomplexobj(source) else "FFTW_FORWARD",
        "flags": ("FFTW_ESTIMATE", *flags),
        "threads": numba.get_num_threads(),
    }
    pyfftw.FFTW(pyfftw.byte_align(source), result, **options).execute()


@compiled("f4[::1]", "f4", parallel=True)
def _scale(values: np.ndarray, factor: np.float32) -> None:
    """Multiply flat values in place."""
    for i in prange(values.size):
        values[i] *= factor
