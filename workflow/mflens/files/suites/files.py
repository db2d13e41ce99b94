"""What all readers share: what they return, units, ordering, and errors that name the file.

A reader takes the path of one sim and returns its shells: where they lie and their density
contrast, nearest first, as HEALPix maps in RING order at the resolution of the file. It holds one
map at a time, for the published ones have 50 million pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import exists
from pathlib import Path
from typing import Any

import numpy as np

from mflens.errors import DataError
from mflens.files.suites.coverage import empty_part
from mflens.problems import line


@dataclass(frozen=True)
class ShellFile:
    """The shells of one sim.

    Attributes
    ----------
    path
        Where they are, for error messages.
    edges
        Their edges, nearest first, shape (n_shells + 1,).
    unit
        Unit of the edges: `redshift`, or the comoving distance in `Mpc` or `Mpc/h`.
    maps
        Yields the density contrast of each shell, nearest first, RING.
    """

    path: Path
    edges: np.ndarray
    unit: str
    maps: Callable[[], Iterator[np.ndarray]]


@contextmanager
def reading(path: Path, remedy: str = "copy or download it again") -> Iterator[None]:
    """Tell whatever goes wrong with a file in one sentence that names it."""
    if not exists(path):
        raise DataError(f"{path} does not exist; mend the table of sims or copy the file there.")
    try:
        yield
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(
            f"{path} needs more memory than there is, or is damaged; give the job more or {remedy}."
        ) from error
    except Exception as error:  # of damaged files the libraries raise many kinds
        raise DataError(
            f"{path} is truncated or not of this format ({line(error)}); {remedy}."
        ) from error


def density_contrast(values: np.ndarray, unit: str, path: Path) -> np.ndarray:
    """Return the density contrast of a full-sky map, float32.

    Parameters
    ----------
    values
        Shape (n_pix,).
    unit
        `contrast` for rho/<rho> - 1; `counts` for the number of particles or the mass in each
        pixel N, which becomes N/<N> - 1 with the mean over the map.
    path
        The file, for error messages.

    Raises
    ------
    DataError
        If these are no such maps, or maps of a part of the sky.
    """
    n_side = round((values.size / 12) ** 0.5)
    if values.ndim != 1 or values.size == 0 or 12 * n_side**2 != values.size:
        raise DataError(f"{path} holds maps of shape {values.shape}, which is no HEALPix map's.")
    if values.dtype.kind not in "iuf":
        raise DataError(f"{path} holds maps of type {values.dtype}; give real numbers.")
    lowest = float(values.min())
    if not np.isfinite(lowest + values.max()) or lowest < -1e30:
        raise DataError(f"{path} has pixels without a value; give maps of the full sky.")
    if unit == "counts":
        mean = float(values.mean(dtype=float))
        if lowest < 0 or mean == 0:
            raise DataError(
                f"{path} holds counts of mean {mean:g} and minimum {lowest:g}; counts are "
                "positive, give the unit `contrast` if these are density contrasts."
            )
        check_coverage(values, path)
        # ASSUME a shell has the mean density of the Universe: its monopole is lost
        return values.astype(np.float32) / np.float32(mean) - np.float32(1)
    if unit != "contrast":
        raise DataError(f"{path} has the unit '{unit}'; give counts or contrast.")
    if lowest >= 0 and values.max() > 0:
        raise DataError(
            f"{path} holds density contrasts of at least {lowest:g}, so that no pixel is below the "
            "mean; give the unit `counts` if these are counts."
        )
    # what is not covered may hold no matter, or the mean density
    check_coverage(np.where(values > 1e-6 - 1, values + 1, 0), path)
    check_coverage(values != 0, path)
    return values.astype(np.float32)


def check_coverage(density: np.ndarray, path: Path) -> None:
    """Refuse a map that leaves a part of the sky empty, RING, shape (n_pix,).

    Its mean would be that of the part, and shear near the edge comes of what lies behind it.
    """
    empty = empty_part(density)
    if empty:
        raise DataError(
            f"{path} covers part of the sky only, {empty:.0%} of it is empty; shear is made of the "
            "density of the whole sky, give maps of the full sky."
        )


def join_edges(near: np.ndarray, far: np.ndarray, path: Path) -> np.ndarray:
    """Return the edges, shape (n + 1,), of shells that follow each other, nearest first."""
    near, far = np.asarray(near, dtype=float), np.asarray(far, dtype=float)
    gaps = ~np.isclose(near[1:], far[:-1], rtol=1e-3, atol=1e-6)
    if gaps.any():
        i = int(np.argmax(gaps))
        raise DataError(
            f"{path} has a shell that ends at {far[i]:g} and a next one that starts at "
            f"{near[i + 1]:g}; complete the shells between."
        )
    return check_edges(np.append(near, far[-1:]), path)


def check_edges(edges: np.ndarray, path: Path) -> np.ndarray:
    """Return edges that increase from 0 or above."""
    # a light cone's last time step ends at zero but for rounding
    edges = np.where(np.abs(edges) < 1e-9, 0.0, edges)
    if edges.ndim != 1 or edges.size < 2 or edges[0] < 0 or not np.all(np.diff(edges) > 0):
        raise DataError(f"{path} has edges of shells that do not increase from the observer on.")
    return edges


def first(attribute: Any) -> Any:
    """Return an attribute of HDF5 that may be an array of one."""
    return np.ravel(attribute)[0]


def text(attribute: Any) -> str:
    """Return an attribute as text."""
    return attribute.decode() if isinstance(attribute, bytes) else str(attribute)
