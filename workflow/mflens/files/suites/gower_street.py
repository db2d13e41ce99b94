"""Gower Street: 791 wCDM simulations by PKDGRAV3 (arXiv:2403.02314)."""

from collections.abc import Iterator
from os.path import isfile
from pathlib import Path

import numpy as np

from mflens.errors import DataError
from mflens.files.suites.files import ShellFile, density_contrast, join_edges, reading


def read_gower_street(path: Path) -> ShellFile:
    """Read one sim of Gower Street, an unpacked archive (arXiv:2403.02314).

    `run.XXXXX.lightcone.npy`: particle counts, RING; `z_values.txt`: a row of commas for each time
    step with its number, the redshift of its far and near end and more, below one header row.
    What lies partly outside the simulated volume, `run.XXXXX.incomplete.npy`, is left out.
    """
    table = path / "z_values.txt"
    with reading(table):
        columns = np.loadtxt(table, delimiter=",", skiprows=1, usecols=(0, 1, 2), ndmin=2)
        columns = columns[np.argsort(columns[:, 1])]
        files = [path / f"run.{int(step):05d}.lightcone.npy" for step in columns[:, 0]]
    kept = [i for i, file in enumerate(files) if isfile(file)]
    if not kept:
        raise DataError(f"{path} holds no run.XXXXX.lightcone.npy; unpack the sim's archive there.")

    def maps() -> Iterator[np.ndarray]:
        for i in kept:
            with reading(files[i]):
                counts = np.load(files[i], allow_pickle=False)
            yield density_contrast(counts, "counts", files[i])

    edges = join_edges(columns[kept, 2], columns[kept, 1], path)
    return ShellFile(path, edges, "redshift", maps)
