"""CosmoGridV1: 2500 wCDM cosmologies by PKDGRAV3, with and without baryons (arXiv:2209.04662)."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mflens.files.suites.files import ShellFile, density_contrast, join_edges, reading


def read_cosmogrid(path: Path) -> ShellFile:
    """Read one run of CosmoGridV1 (arXiv:2209.04662).

    `compressed_shells.npz`, `shells_nside=512.npz` or `baryonified_shells.npz`: `shells`, counts
    of shape (n_shells, n_pix), RING; `shell_info` with the redshifts `lower_z` and `upper_z`.
    """
    with reading(path), np.load(path, allow_pickle=False) as file:
        info = file["shell_info"]
        near, far = (np.atleast_1d(info[name]).astype(float) for name in ("lower_z", "upper_z"))
    order = np.argsort(near)

    def maps() -> Iterator[np.ndarray]:
        with reading(path):
            for row in stream_rows(path, order):
                yield density_contrast(row, "counts", path)

    return ShellFile(path, join_edges(near[order], far[order], path), "redshift", maps)


def stream_rows(path: Path, order: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows of `shells` of an npz archive; one at a time if they lie in the wanted order."""
    if np.any(np.diff(order) < 0):
        with np.load(path, allow_pickle=False) as file:
            yield from file["shells"][order]
        return
    header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    with zipfile.ZipFile(path) as archive, archive.open("shells.npy") as stream:
        version = np.lib.format.read_magic(stream)
        shape, is_fortran, dtype = header[version[0]](stream)
        if len(shape) != 2 or shape[0] != order.size or is_fortran:
            raise ValueError(f"shells of shape {shape} for {order.size} rows of shell_info")
        for _ in order:
            row = stream.read(shape[1] * dtype.itemsize)
            yield np.frombuffer(row, dtype=dtype, count=shape[1])
