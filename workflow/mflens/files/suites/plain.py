"""Plain HDF5 and FITS layouts of density shells and of shear maps, for everything else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mflens.errors import DataError
from mflens.files.suites.files import ShellFile, check_edges, density_contrast, reading, text
from mflens.files.suites.ordering import ORDERINGS, to_ring

EDGE_UNITS = ("redshift", "Mpc", "Mpc/h")


def read_hdf5_shells(path: Path) -> ShellFile:
    """Read the plain HDF5 layout of shells.

    Dataset `density`, shape (n_shells, n_pix), nearest first, attributes `unit` (`counts` or
    `contrast`) and `ordering` (`ring` or `nested`); dataset `edges`, shape (n_shells + 1,),
    attribute `unit` (`redshift`, `Mpc` or `Mpc/h`).
    """
    import h5py

    with reading(path), h5py.File(path, "r") as file:
        edges, unit = file["edges"][()], text(file["edges"].attrs["unit"])
        n_shells = len(file["density"])
    check_layout(n_shells, edges, unit, path)

    def maps() -> Iterator[np.ndarray]:
        with reading(path), h5py.File(path, "r") as file:
            data = file["density"]
            for i in range(n_shells):
                values = to_ring(data[i], data.attrs["ordering"], path)
                yield density_contrast(values, text(data.attrs["unit"]), path)

    return ShellFile(path, check_edges(edges, path), unit, maps)


def read_fits_shells(path: Path) -> ShellFile:
    """Read the plain FITS layout of shells.

    A HEALPix table with one column for each shell, nearest first, and in its header `ORDERING`,
    `UNIT` (`counts` or `contrast`), `EDGEUNIT` (`redshift`, `Mpc` or `Mpc/h`) and the edges
    `EDGE0`, `EDGE1`, ...
    """
    import healpy

    header = fits_header(path)
    with reading(path):
        n_shells, unit = int(header["TFIELDS"]), text(header["EDGEUNIT"])
        edges = np.array([float(header[f"EDGE{i}"]) for i in range(n_shells + 1)])
    check_layout(n_shells, edges, unit, path)

    def maps() -> Iterator[np.ndarray]:
        for i in range(n_shells):
            with reading(path):
                # as they are in the file
                values = healpy.read_map(path, field=i, dtype=None, nest=None)
                values = to_ring(values, header["ORDERING"], path)
                yield density_contrast(values, text(header["UNIT"]), path)

    return ShellFile(path, check_edges(edges, path), unit, maps)


def fits_header(path: Path) -> dict[str, Any]:
    """Return the header of a HEALPix table, which must say its ordering."""
    from astropy.io import fits

    with reading(path), fits.open(path) as file:
        header = dict(file[1].header)
        if text(header["ORDERING"]).lower() not in ORDERINGS:
            raise ValueError(f"ORDERING is {header['ORDERING']}")
    return header


def check_layout(n_shells: int, edges: np.ndarray, unit: str, path: Path) -> None:
    """Check that a plain file has one edge more than shells, in a unit that is known."""
    if unit not in EDGE_UNITS:
        raise DataError(f"{path} has edges in '{unit}'; give one of {', '.join(EDGE_UNITS)}.")
    if edges.shape != (n_shells + 1,):
        raise DataError(
            f"{path} has {n_shells} shells and edges of shape {edges.shape}; give {n_shells + 1}."
        )


def read_hdf5_shear(path: Path) -> np.ndarray:
    """Read the plain HDF5 layout of shear, to shape (n_bins, 2, n_pix), RING, COSMO.

    Dataset `shear` of that shape, attributes `ordering` (`ring` or `nested`) and `polarisation`
    (`COSMO`: gamma_2 as in HEALPix; `IAU`: of opposite sign).
    """
    import h5py

    with reading(path), h5py.File(path, "r") as file:
        data = file["shear"]
        ordering, convention = data.attrs["ordering"], text(data.attrs["polarisation"])
        values = data[()]
    return check_shear(to_ring(values, ordering, path), convention, path)


def read_fits_shear(path: Path) -> np.ndarray:
    """Read the plain FITS layout of shear, to shape (n_bins, 2, n_pix), RING, COSMO.

    A HEALPix table with the columns gamma_1 and gamma_2 of the first bin, of the second bin, ...;
    its header says `ORDERING` and `POLCCONV` (`COSMO` or `IAU`).
    """
    import healpy

    header = fits_header(path)
    with reading(path):
        n_columns, convention = int(header["TFIELDS"]), text(header["POLCCONV"])
        # as they are in the file
        columns = [healpy.read_map(path, field=i, dtype=None, nest=None) for i in range(n_columns)]
        values = np.stack(columns).reshape(n_columns // 2, 2, -1)
    return check_shear(to_ring(values, header["ORDERING"], path), convention, path)


def check_shear(values: np.ndarray, convention: str, path: Path) -> np.ndarray:
    """Return shear, shape (n_bins, 2, n_pix), in the COSMO convention, if it can be shear."""
    if values.ndim != 3 or values.shape[1] != 2:
        raise DataError(
            f"{path} holds shear of shape {values.shape}; give (bin, component, pixel)."
        )
    if not np.all(np.isfinite(values)) or np.abs(values).max() > 1:
        raise DataError(f"{path} has pixels without shear or beyond 1; give maps of the full sky.")
    if convention not in ("COSMO", "IAU"):
        raise DataError(f"{path} has the polarisation '{convention}'; give COSMO or IAU.")
    sign = 1 if convention == "COSMO" else -1
    return values * np.array([1.0, sign])[:, None]
