"""Source redshift distributions from the files that surveys publish.

Read are text tables of z and one n(z) a bin (CosmoSIS), one text file a bin (KiDS), and the n(z)
extension of two-point FITS files (DES, KiDS; https://github.com/joezuntz/2point).
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mflens.errors import ConfigError
from mflens.problems import AUTO, line

logger = logging.getLogger(__name__)

KEY = "simulate.survey.redshifts"
FITS_SUFFIXES = (".fits", ".fit", ".fits.gz")
# ASSUME n(z) below zero is the noise of its estimate where it is at most this share of a bin
LARGEST_DIP = 0.01
# by which z_max may change the mean redshift of a bin: half of the 0.002 (1 + z) that the surveys
# with the highest demands ask for
LARGEST_SHIFT = 1e-3
# and by which `auto` may, where it ends a tail that is zero but for its last digits
NO_SHIFT = 1e-4


@dataclass(frozen=True)
class Sources:
    """The sources of all bins, and what was done to the distributions of a file.

    Attributes
    ----------
    z, n
        Redshifts, shape (n_z,), and distributions, shape (n_bins, n_z), linear between them.
    mean
        Mean redshift of each bin before its tail was cut off, shape (n_bins,).
    lost
        Share of each bin that was cut off, shape (n_bins,).
    notes
        What else was done, in sentences.
    """

    z: np.ndarray
    n: np.ndarray
    mean: np.ndarray
    lost: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def deepest(self) -> np.ndarray:
        """Redshift of each bin's deepest source, shape (n_bins,)."""
        # n(z) is linear: from its last value it falls to zero at the next redshift
        last = np.array([np.flatnonzero(n)[-1] for n in self.n])
        return self.z[np.minimum(last + 1, self.z.size - 1)]


def read_redshifts(options: Mapping[str, Any]) -> Sources:
    """Return n(z) as it stands in the file, without dips below zero and what lies beyond `z_max`.

    Parameters
    ----------
    options
        `path` of a text or FITS file, or a list of text files, one a bin; `z_column`, whether the
        redshifts of a text file are the middle or the lower edges of intervals; `extension` of a
        FITS file; `z_max`, beyond which sources are dropped, or `auto`.

    Raises
    ------
    ConfigError
        If a file is missing, of another format, or holds no distributions.
    """
    path = options["path"]
    paths = [path] if isinstance(path, str) else path
    for one in paths:
        # numpy and astropy would take an address and download it
        if not os.path.isfile(one):
            raise ConfigError(
                f"{KEY}.path: there is no file '{one}'; give the path of a redshift table."
            )
    if path is not paths:
        is_fits = path.lower().endswith(FITS_SUFFIXES)
        z, n = _read_fits(path, options["extension"]) if is_fits else _read_text(path, options)
        paths = [path] * len(n)
    else:
        z, n = _read_one_a_bin(paths, options)
    n, notes = _without_dips(paths, z, n)
    for note in notes:
        logger.info("%s", note)
    mean = _checked_means(paths, z, n)
    return _cut(paths, Sources(z, n, mean, np.zeros(len(n)), tuple(notes)), options["z_max"])


def _read_text(path: str, options: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return redshifts, shape (n_z,), and the other columns of a table, shape (n_columns, n_z)."""
    try:
        with np.lib.npyio.DataSource(os.curdir).open(path, "rt", encoding="utf-8-sig") as file:
            lines = [re.sub("[,;]", " ", text.partition("#")[0]) for text in file]
        rows = [row for row in lines if row.strip()]
        names = bool(rows) and not _is_number(rows[0].split()[0])
        table = np.loadtxt(rows[names:], ndmin=2) if rows[names:] else np.empty((0, 0))
    except Exception as error:  # compressed files that are damaged raise many kinds
        raise ConfigError(
            f"{KEY}.path: '{path}' is no table of numbers ({line(error)}); give columns z, n_1, "
            "..., or a FITS file that ends in .fits."
        ) from error
    if table.shape[0] < 2 or table.shape[1] < 2:
        raise ConfigError(
            f"{KEY}.path: '{path}' has {table.shape[0]} rows of numbers and {table.shape[1]} "
            "columns; give a column z and one n(z) for each bin, over several rows."
        )
    z, *n = _ascending(table.T)
    if options["z_column"] == "middle":
        return _checked(path, z, np.array(n))
    # the last interval is as wide as the one before
    edges = np.append(z, 2 * z[-1] - z[-2])
    return _checked(path, *_with_ends((edges[1:] + edges[:-1]) / 2, np.array(n), z[0], edges[-1]))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _read_one_a_bin(
    paths: Sequence[str], options: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Read z and n(z) from the first two columns of one file a bin; a third may hold errors."""
    tables = [_read_text(path, options) for path in paths]
    # files may have redshifts of their own: n(z) is linear between them
    z = np.unique(np.concatenate([own for own, _ in tables]))
    return z, np.array([np.interp(z, own, n[0], left=0.0, right=0.0) for own, n in tables])


def _read_fits(path: str, extension: str) -> tuple[np.ndarray, np.ndarray]:
    """Read Z_MID, or Z_LOW and Z_HIGH, and BIN1, BIN2, ... from a table of a FITS file."""
    from astropy.io import fits

    try:
        with fits.open(path) as file:
            found = [hdu for hdu in file if isinstance(hdu, fits.BinTableHDU)]
            tables = {
                hdu.name.upper(): {n.upper(): hdu.data[n] for n in hdu.columns.names}
                for hdu in found
            }
    except Exception as error:  # astropy raises many kinds, when it comes to read
        raise ConfigError(
            f"{KEY}.path: '{path}' is no FITS file ({line(error)}); give another."
        ) from error
    if extension.upper() not in tables:
        remedy = f"name one of {', '.join(tables)}" if tables else "give another file"
        raise ConfigError(f"{KEY}.extension: '{path}' has no table '{extension}'; {remedy}.")
    table = tables[extension.upper()]
    numbered = {int(name[3:]): name for name in table if re.fullmatch(r"BIN[0-9]{1,4}", name)}
    places = [name for name in ("Z_MID", "Z_LOW", "Z_HIGH") if name in table]
    known = "Z_MID" in places or len(places) > 1
    if not known or not numbered or sorted(numbered) != list(range(1, len(numbered) + 1)):
        raise ConfigError(
            f"{KEY}.extension: table '{extension}' of '{path}' has the columns "
            f"{', '.join(table)}; an n(z) needs Z_MID and BIN1, BIN2, ..."
        )
    columns = [table[name] for name in [*places, *(numbered[b] for b in sorted(numbered))]]
    if any(column.ndim != 1 or column.dtype.kind not in "iuf" for column in columns):
        raise ConfigError(
            f"{KEY}.extension: table '{extension}' of '{path}' has columns that are no numbers; "
            "give one number a row."
        )
    values = _ascending(np.asarray(columns, dtype=float))
    at, n = dict(zip(places, values[: len(places)], strict=True)), values[len(places) :]
    middle = at["Z_MID"] if "Z_MID" in at else (at["Z_LOW"] + at["Z_HIGH"]) / 2
    low, high = (at.get(name, middle) for name in ("Z_LOW", "Z_HIGH"))
    return _checked(path, *(_with_ends(middle, n, low[0], high[-1]) if n.shape[1] else (middle, n)))


def _ascending(columns: np.ndarray) -> np.ndarray:
    """Return columns, the first of them redshifts, from low to high if they descend."""
    return columns[:, ::-1] if columns.shape[1] > 1 and columns[0, 0] > columns[0, -1] else columns


def _with_ends(
    z: np.ndarray, n: np.ndarray, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Let n(z) of intervals begin and end with their edges, not in the middle of the outer ones."""
    if 0 <= low < z[0]:
        z, n = np.append(low, z), np.hstack([n[:, :1], n])
    if high > z[-1]:
        z, n = np.append(z, high), np.hstack([n, n[:, -1:]])
    return z, n


def _checked(path: str, z: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a table if its redshifts can be."""
    if z.size < 2:
        raise ConfigError(f"{KEY}.path: '{path}' has {z.size} redshifts; give several.")
    if not (np.all(np.isfinite(z)) and np.all(np.diff(z) > 0) and z[0] >= 0):
        raise ConfigError(
            f"{KEY}.path: the redshifts of '{path}' are not finite numbers from 0 that increase; "
            "sort the rows and mend the column z."
        )
    return z, n


def _without_dips(
    paths: Sequence[str], z: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Return n(z) with its few values below zero set to zero, and what was set."""
    notes = []
    for number, (path, one) in enumerate(zip(paths, n, strict=True), start=1):
        name = f"n(z) of bin {number} in '{path}'"
        finite = np.isfinite(one)
        if not np.all(finite):
            at = int(np.argmin(finite))
            raise ConfigError(
                f"{KEY}.path: {name} is {one[at]:g} at z = {z[at]:g}; give finite values."
            )
        dips, at = one < 0, int(np.argmin(one))
        with np.errstate(over="ignore", invalid="ignore"):
            above, below = (np.trapezoid(np.maximum(part, 0), z) for part in (one, -one))
        if not above > 0:
            raise ConfigError(
                f"{KEY}.path: {name} holds no sources; drop the bin or give another file."
            )
        if below > LARGEST_DIP * above:
            raise ConfigError(
                f"{KEY}.path: {name} is {one[at]:g} at z = {z[at]:g}, and what is below zero is "
                f"{100 * below / above:.2g} % of the bin; give values that are not negative, at "
                f"most {100 * LARGEST_DIP:g} % is taken for noise and set to zero."
            )
        if dips.any():
            notes.append(
                f"{name} is below zero at {dips.sum()} redshifts, by {below / above:.1g} of the "
                "bin: set to zero"
            )
    return np.maximum(n, 0.0), notes


def mean_redshift(z: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the mean redshift of each bin, not a number where it has no sources."""
    return _running_means(z, n)[:, -1]


def _running_means(z: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return mean redshifts up to each redshift but the first, exact for n linear between."""
    low, high, n_low, n_high = z[:-1], z[1:], n[:, :-1], n[:, 1:]
    with np.errstate(all="ignore"):
        mass = (high - low) / 2 * (n_low + n_high)
        moment = (high - low) / 6 * (n_low * (2 * low + high) + n_high * (low + 2 * high))
        return np.cumsum(moment, axis=1) / np.cumsum(mass, axis=1)


def _checked_means(paths: Sequence[str], z: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return the mean redshift of each bin if they can be and are in the order of depth."""
    means = mean_redshift(z, n)
    if not np.all(np.isfinite(means)):
        at = paths[int(np.argmin(np.isfinite(means)))]
        raise ConfigError(f"{KEY}.path: n(z) in '{at}' is too large to add up; scale it down.")
    for number, (near, far) in enumerate(pairwise(means), start=2):
        if far < near:
            raise ConfigError(
                f"{KEY}.path: bin {number} of '{paths[number - 1]}' has mean redshift {far:.3g}, "
                f"less than the {near:.3g} of bin {number - 1}; put the bins in order of depth."
            )
    return means


def _cut(paths: Sequence[str], whole: Sources, z_max: float | str) -> Sources:
    """Drop what lies beyond `z_max`, if that leaves the mean redshifts what they are."""
    z, n = whole.z, whole.n
    end = _end_within(whole, NO_SHIFT) if z_max == AUTO else int(np.sum(z <= z_max))
    kept = Sources(z[:end], n[:, :end], whole.mean, whole.lost, whole.notes)
    means = mean_redshift(kept.z, kept.n) if end > 1 else np.full(len(n), np.nan)
    # also where there is nothing left
    wrong = ~(whole.mean - means <= LARGEST_SHIFT)
    lost = 1 - np.trapezoid(kept.n, kept.z, axis=1) / np.trapezoid(n, z, axis=1)
    if np.any(wrong):
        b = int(np.argmax(wrong))
        left = (
            "it has no sources left"
            if np.isnan(means[b])
            else (f"its mean redshift falls from {whole.mean[b]:.4f} to {means[b]:.4f}")
        )
        raise ConfigError(
            f"{KEY}.z_max: {z_max:g} leaves out {100 * lost[b]:.2g} % of bin {b + 1} of "
            f"'{paths[b]}', and {left}; set it to auto, which keeps what counts, or raise it to "
            f"{z[_end_within(whole, LARGEST_SHIFT) - 1]:.3g}."
        )
    return Sources(kept.z, kept.n, whole.mean, lost, whole.notes)


def _end_within(whole: Sources, shift: float) -> int:
    """Return how many redshifts are needed for all means to be right within a shift."""
    off = np.abs(_running_means(whole.z, whole.n) - whole.mean[:, None])
    right = np.all(off <= shift, axis=0)
    too_few = np.flatnonzero(~right[:-1])
    return int(too_few[-1]) + 3 if too_few.size else 2
