"""Masks as surveys publish them: HEALPix tables in FITS, of all the sky or of a list of pixels.

`healpy.read_map` takes a file without ORDERING for what it is asked for, knows lists by INDXSCHM
alone and reads the first column. Here each of these is decided, or asked for in one sentence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mflens.errors import ConfigError
from mflens.problems import line

KEY = "simulate.survey.mask"
# columns that number pixels, in lower case; with INDXSCHM = EXPLICIT the first column does
PIXEL_COLUMNS = (
    "pixel", "hpix", "hpx", "ipix", "ipixel", "pix", "pixnum", "pixel_id", "pixelid", "hpixel",
    "healpix", "healpix_id", "hpix_id", "hp_pix", "index",
)  # fmt: skip
# first letters of COORDSYS; the first that fits counts
FRAMES = {
    "EQ": "equatorial", "E": "ecliptic", "G": "Galactic",
    "C": "equatorial", "Q": "equatorial", "I": "equatorial",
}  # fmt: skip
NUMBERS = "LBIJKED"  # FITS letters of what may be a mask
ROUNDING = 1e-3  # ASSUME values so little outside 0 to 1 are these, but for rounding and smoothing
UNSEEN = -1e30  # HEALPix's mark of a pixel without value, -1.6375e30, is below
BLOCK = 2**22  # pixels that are read at once
N_LOOK = 2**15  # pixels whose neighbours tell the ordering


@dataclass(frozen=True)
class Table:
    """A HEALPix table of a FITS file.

    Attributes
    ----------
    hdu
        The extension.
    nside
        Its resolution.
    pixel
        Name of the column that numbers the pixels, None where they come in order.
    columns
        Names of the columns that may be the mask.
    """

    hdu: Any
    nside: int
    pixel: str | None
    columns: tuple[str, ...]

    def header(self, keyword: str) -> str:
        """Return a keyword's value in capitals, empty if it is not there."""
        return str(self.hdu.header.get(keyword, "")).strip().upper()

    def read(self, name: str) -> np.ndarray:
        """Return a column, shape (n,), as it lies in the file."""
        return self.hdu.data.field(name).reshape(-1)


def read_mask(path: str, nside: int, column: str | None = None) -> tuple[np.ndarray, list[str]]:
    """Read the observed fraction of every pixel.

    Pixels that a list leaves out and those marked as without value (UNSEEN, BAD_DATA, TNULL) are
    not observed. Finer masks are averaged, coarser ones repeated. Nothing is rotated.

    Parameters
    ----------
    path
        A FITS file, compressed or not.
    nside
        Wanted resolution.
    column
        Name of the mask's column, None where there is one alone.

    Returns
    -------
    fraction
        NESTED, shape (12 nside^2,).
    notes
        Sentences on what was read.

    Raises
    ------
    ConfigError
        If the file does not say what its pixels are, or holds other values than fractions.
    """
    from astropy.io import fits

    try:
        with fits.open(Path(path)) as file:
            table, name = _choose(path, file, column)
            nested, told = _is_nested(path, table, name)
            fraction = _average(path, table, name, nested, nside)
            return fraction, [_note(path, table, name, nside), *told, _frame(path, table)]
    except ConfigError:
        raise
    except MemoryError as error:
        raise ConfigError(
            f"{KEY}: '{path}' needs more memory than there is, or is damaged; give another file."
        ) from error
    except Exception as error:  # astropy raises many kinds
        raise _no_mask(path, line(error)) from error


def _no_mask(path: str, why: str) -> ConfigError:
    return ConfigError(f"{KEY}: '{path}' is no HEALPix FITS mask ({why}); give another file.")


def _choose(path: str, file: Any, column: str | None) -> tuple[Table, str | None]:
    """Return the table with the mask, and its column; None for a list of pixels alone."""
    from astropy.io import fits

    if {"COV", "SPARSE"} <= {hdu.name for hdu in file}:
        raise _no_mask(path, "it is a HealSparse map, which generate_healpix_map() turns into one")
    # astropy counts compressed images among the tables
    hdus = [hdu for hdu in file if isinstance(hdu, fits.BinTableHDU)]
    layouts = [_layout(hdu) for hdu in hdus if not isinstance(hdu, fits.CompImageHDU)]
    tables = [table for table in layouts if isinstance(table, Table)]
    if not tables:
        raise _no_mask(path, next(map(str, layouts), "it holds no table"))
    choices = [(table, name) for table in tables for name in table.columns]
    there = ", ".join(name for _, name in choices) or "pixels alone"
    if column is not None:
        exact = [choice for choice in choices if choice[1] == column]
        choices = exact or [choice for choice in choices if choice[1].lower() == column.lower()]
        if len(choices) != 1:
            raise ConfigError(
                f"{KEY}.column: '{column}' is {'more than one' if choices else 'no'} column of "
                f"'{path}', which has {there}; name another."
            )
    elif len(choices) > 1:
        raise ConfigError(
            f"{KEY}: '{path}' has the columns {there}; write {KEY}: {{path: {path}, column: ...}} "
            "with the mask's."
        )
    return choices[0] if choices else (tables[0], None)


def _layout(hdu: Any) -> Table | str:
    """Return a table's layout, or why it is no HEALPix map."""
    letters = {c.name: re.sub(r"^\d*", "", c.format)[:1] for c in hdu.columns}
    sizes = {n: len(hdu.data) * _width(hdu, n) for n, kind in letters.items() if kind in NUMBERS}
    if not sizes:
        return "no column holds numbers"
    explicit = str(hdu.header.get("INDXSCHM", "")).strip().upper() == "EXPLICIT"
    pixel = next((name for name in sizes if name.lower() in PIXEL_COLUMNS), None)
    pixel = pixel or (next(iter(sizes)) if explicit else None)
    said, size = _nside(hdu), sizes[pixel] if pixel else max(sizes.values())
    columns = tuple(name for name in sizes if name != pixel and sizes[name] == size)
    if pixel:
        if not isinstance(said, int) or said < 1 or said & (said - 1):
            return f"{pixel} lists pixels, but the keyword NSIDE is {said}"
        return Table(hdu, said, pixel, columns)
    held = round((size / 12) ** 0.5)
    if size == 0 or 12 * held**2 != size or held & (held - 1):
        return (
            f"{size} values are no full sky, and neither a column named PIXEL nor the keyword "
            "INDXSCHM says that they are a list of pixels"
        )
    if said not in ("missing", held):
        return f"it has {size} values, those of nside {held}, but the keyword NSIDE is {said}"
    return Table(hdu, held, None, columns)


def _nside(hdu: Any) -> Any:
    """Return the keyword NSIDE, a whole number if it is one, however it is written."""
    said = str(hdu.header.get("NSIDE", "missing")).strip()
    return int(float(said)) if re.fullmatch(r"\d+(\.0*)?", said) else said


def _width(hdu: Any, name: str) -> int:
    """Return how many values a row of a column has."""
    return int(re.sub(r"\D.*", "", hdu.columns[name].format) or 1)


def _is_nested(path: str, table: Table, name: str | None) -> tuple[bool, list[str]]:
    """Say whether pixels are NESTED, and what is to be told of a file that does not say so."""
    ordering = table.header("ORDERING")
    if ordering.startswith(("NEST", "RING")):
        return ordering.startswith("NEST"), []
    remedy = "add it, with astropy.io.fits.setval"
    if ordering:
        raise _no_mask(path, f"the keyword ORDERING is '{ordering}', not RING or NESTED; {remedy}")
    if table.pixel or name is None:
        raise _no_mask(path, f"{table.pixel} lists pixels without the keyword ORDERING; {remedy}")
    if _looks_nested(table.read(name), table.nside):
        raise _no_mask(path, f"the keyword ORDERING is missing, and values look NESTED; {remedy}")
    return False, [f"'{path}' has no keyword ORDERING and is taken to be RING, as it looks."]


def _looks_nested(values: np.ndarray, nside: int) -> bool:
    """Say whether neighbours are much more alike in NESTED order than they are in RING order."""
    import healpy

    pixel = np.random.default_rng(0).choice(values.size, min(N_LOOK, values.size), replace=False)

    def differ(nest: bool) -> float:
        near = healpy.get_all_neighbours(nside, pixel, nest=nest)
        return float(np.mean((values[near] != values[pixel])[near >= 0]))

    return differ(nest=True) < differ(nest=False) / 2


def _average(path: str, table: Table, name: str | None, nested: bool, nside: int) -> np.ndarray:
    """Return the mean fraction of every pixel, NESTED, shape (12 nside^2,)."""
    import healpy

    coarse = min(nside, table.nside)
    ratio = (table.nside // coarse) ** 2
    total, wrong = np.zeros(12 * coarse**2), []
    for pixel, values in _blocks(path, table, name):
        place = pixel if nested else healpy.ring2nest(table.nside, pixel)
        wrong += [values[~((values >= -ROUNDING) & (values <= 1 + ROUNDING))]]
        np.add.at(total, place // ratio, np.clip(values, 0, 1))
    outside = np.concatenate(wrong) if wrong else np.array([])
    if outside.size:
        raise ConfigError(
            f"{KEY}: '{path}' holds {outside[0]} in {outside.size} pixel(s); give a mask with "
            "values from 0 to 1, NaN nowhere."
        )
    return np.repeat(total / ratio, (nside // coarse) ** 2)


def _blocks(path: str, table: Table, name: str | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield numbers of pixels and their values, some at a time; pixels with none are left out."""
    column = table.read(name) if name else np.zeros(0)
    listed = _listed(path, table) if table.pixel else None
    if listed is not None and name is None:
        column = np.ones(listed.size)
    marks = (table.hdu.header.get("BAD_DATA"), name and table.hdu.columns[name].null)
    for start in range(0, column.size, BLOCK):
        block = column[start : start + BLOCK]
        # most of a mask of a fine resolution is zero
        place = np.flatnonzero(block)
        values = block[place].astype(float)
        known = values >= UNSEEN
        for mark in (mark for mark in marks if isinstance(mark, int | float)):
            known &= ~np.isclose(values, mark)
        # NaN is no value either, but nobody says what it means
        place, values = (x[known | np.isnan(values)] for x in (place, values))
        yield place + start if listed is None else listed[place + start], values


def _listed(path: str, table: Table) -> np.ndarray:
    """Return the numbers of the pixels of a list, shape (n,)."""
    listed = table.read(str(table.pixel)).astype(np.int64)
    beyond = listed[(listed < 0) | (listed >= 12 * table.nside**2)]
    if beyond.size:
        raise _no_mask(path, f"{table.pixel} holds {beyond[0]}, no pixel of nside {table.nside}")
    if np.unique(listed).size < listed.size:
        raise _no_mask(path, f"{table.pixel} lists pixels more than once")
    return listed


def _note(path: str, table: Table, name: str | None, nside: int) -> str:
    what = f"column {name}" if name else "the listed pixels, all observed in full"
    change = ""
    if table.nside != nside:
        how = "averaged" if table.nside > nside else "repeated, as it is coarser,"
        change = f", {how} to simulate.nside = {nside}"
    return f"The mask is {what} of '{path}', nside {table.nside}{change}."


def _frame(path: str, table: Table) -> str:
    said = table.header("COORDSYS")
    frame = next((word for letters, word in FRAMES.items() if said.startswith(letters)), "unknown")
    if not said:
        return f"'{path}' does not say its coordinates (COORDSYS); the maps have the same."
    return f"'{path}' has {frame} coordinates (COORDSYS {said}), and so have the maps."
