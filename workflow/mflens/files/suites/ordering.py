"""The order of pixels, as a file says it and as its maps show it.

A label may be wrong: then every pixel stands elsewhere, and nothing in a histogram or in a mean
tells. Maps of the sky are smooth to some degree: pixels side by side are more alike than others, in
the order that is right.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mflens.errors import DataError

ORDERINGS = ("ring", "nested")
OTHER = {"ring": "nested", "nested": "ring"}
N_SAMPLED = 2**16  # pixels of a map that are compared with their neighbours
# by which neighbours must differ more, relatively, in the order that is refused: several times the
# error of it, which is 1 / sqrt(n) for n pixels that tell anything, and no less than `LEAST`
N_SIGMA, LEAST = 6.0, 0.03
FEWEST = 96  # of such pixels; with fewer its error is none of a normal distribution


def to_ring(values: np.ndarray, ordering: Any, path: Path) -> np.ndarray:
    """Return maps in RING order.

    Parameters
    ----------
    values
        Shape (..., n_pix).
    ordering
        `ring` or `nested`, as the file says.
    path
        The file, for error messages.

    Raises
    ------
    DataError
        If the ordering is none of these, or not that of the maps.
    """
    import healpy

    name = (ordering.decode() if isinstance(ordering, bytes) else str(ordering)).lower()
    if name not in ORDERINGS:
        raise DataError(f"{path} has the pixel ordering '{ordering}'; give ring or nested.")
    check_ordering(values, name, path)
    if name == "ring":
        return values
    n_side = healpy.npix2nside(values.shape[-1])
    return values[..., healpy.ring2nest(n_side, np.arange(values.shape[-1]))]


def check_ordering(values: np.ndarray, ordering: str, path: Path) -> None:
    """Refuse maps whose neighbours are clearly more alike in the other order of pixels.

    What shows nothing is accepted: noise, maps of few pixels, and those that are constant.

    Parameters
    ----------
    values
        Shape (..., n_pix).
    ordering
        `ring` or `nested`.
    path
        The file, for error messages.

    Raises
    ------
    DataError
        If it is the wrong one.
    """
    n_pix = values.shape[-1]
    n_side = round((n_pix / 12) ** 0.5)
    if n_pix != 12 * n_side**2 or n_side & (n_side - 1) or values.dtype.kind not in "iuf":
        return  # only a power of two has a nested order; what is no map is told elsewhere
    maps = values.reshape(-1, n_pix)
    here, there = (contrast(maps, name) for name in (ordering, OTHER[ordering]))
    n_telling = telling(maps)
    if n_telling < FEWEST:
        return
    beyond_chance = 1 + max(LEAST, N_SIGMA / n_telling**0.5)
    # in the other order neighbours are alike, and more so than in the order that the file says
    if there * beyond_chance < min(1.0, here):
        raise DataError(
            f"{path} says that its pixels are ordered {ordering.upper()}, but neighbours differ "
            f"{here / max(there, 1e-9):.1f} times less (mean square) when they are read as "
            f"{OTHER[ordering].upper()}; mend what the file says."
        )


def contrast(maps: np.ndarray, ordering: str) -> float:
    """Return how much neighbours differ: the mean square over that of any two pixels.

    Values count by their rank, so that a few high pixels, as of a light cone, decide nothing.

    Parameters
    ----------
    maps
        Shape (n_maps, n_pix).
    ordering
        The order in which the pixels are read: `ring` or `nested`.
    """
    pixels, neighbours = _neighbours(round((maps.shape[-1] / 12) ** 0.5), ordering)
    differences, scatter = 0.0, 0.0
    for row in maps:
        ordered = np.sort(row[pixels])
        mine, beside = _ranks(row[pixels], ordered), _ranks(row[neighbours], ordered)
        differences += float(np.mean((beside - mine) ** 2))
        scatter += 2 * float(mine.var())
    return differences / scatter if scatter else 0.0


def telling(maps: np.ndarray) -> int:
    """Return how many of the sampled pixels are not of the commonest value, by the poorest map."""
    pixels, _ = _neighbours(round((maps.shape[-1] / 12) ** 0.5), "ring")
    return min(pixels.size - np.unique(row[pixels], return_counts=True)[1].max() for row in maps)


def _ranks(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return the ranks of values among others, equal ones sharing theirs."""
    return (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, "right")) / 2


@cache
def _neighbours(n_side: int, ordering: str) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels, the same for both orders, and those that share an edge, (4, n_sampled)."""
    import healpy

    n_pix = 12 * n_side**2
    pixels = np.arange(n_pix)
    if n_pix > N_SAMPLED:
        # at random: a regular choice would have a meaning in either order
        pixels = np.random.default_rng(0).integers(n_pix, size=N_SAMPLED)
    found = healpy.get_all_neighbours(n_side, pixels, nest=ordering == "nested")
    return pixels, found[::2]  # SW, NW, NE and SE; the others, which touch at a corner, may lack
