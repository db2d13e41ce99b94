"""FLAMINGO: hydrodynamical and dark-matter-only simulations by SWIFT (arXiv:2306.04024)."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from mflens.errors import DataError
from mflens.files.suites.files import (
    ShellFile,
    density_contrast,
    first,
    join_edges,
    reading,
)
from mflens.files.suites.ordering import to_ring

CM_PER_MPC = 3.0856775814913673e24


def read_flamingo(path: Path) -> ShellFile:
    """Read the shells of one light cone of FLAMINGO (arXiv:2306.04024), written by SWIFT.

    `path` is a folder `<lightcone>_shells` that holds `shell_<i>/<lightcone>.shell_<i>.<part>.hdf5`
    or the same without the inner folder. Mass in each pixel is `TotalMass`; radii are comoving, in
    the file's unit of length, which holds no h.
    """
    import h5py

    def part(i: int, number: int) -> Path:
        name = f"{path.name.removesuffix('_shells')}.shell_{i}.{number}.hdf5"
        return next(
            (p for p in (path / f"shell_{i}" / name, path / name) if p.is_file()), path / name
        )

    near: list[float] = []
    far: list[float] = []
    n_parts: list[int] = []
    while part(len(near), 0).is_file():
        file_path = part(len(near), 0)
        with reading(file_path), h5py.File(file_path, "r") as file:
            shell = file["Shell"].attrs
            unit = first(file["Units"].attrs["Unit length in cgs (U_L)"]) / CM_PER_MPC
            near.append(first(shell["comoving_inner_radius"]) * unit)
            far.append(first(shell["comoving_outer_radius"]) * unit)
            n_parts.append(int(first(shell["nr_files_per_shell"])))
    if not near:
        raise DataError(f"{path} holds no {part(0, 0).name}; name a folder <lightcone>_shells.")

    def maps() -> Iterator[np.ndarray]:
        for i, n in enumerate(n_parts):
            yield flamingo_map(part(i, number) for number in range(n))

    return ShellFile(path, join_edges(np.array(near), np.array(far), path), "Mpc", maps)


def flamingo_map(parts: Iterable[Path]) -> np.ndarray:
    """Return the density contrast of a FLAMINGO shell whose pixels lie in several files."""
    import h5py

    pixels, expected, ordering, path = [], 0, "ring", Path()
    for path in parts:
        with reading(path), h5py.File(path, "r") as file:
            data = file["TotalMass"]
            expected = int(first(data.attrs["number_of_pixels"]))
            ordering = first(data.attrs["pixel_ordering_scheme"])
            pixels.append(data[()])
    with reading(path):
        values = np.concatenate(pixels)
    if values.size != expected:
        raise DataError(
            f"{path} and its other parts hold {values.size} of {expected} pixels; copy or "
            "download them again."
        )
    return density_contrast(to_ring(values, ordering, path), "counts", path)
