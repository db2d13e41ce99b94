"""Source redshift distributions from the files that surveys publish.

Read are text tables of z and one n(z) a bin (CosmoSIS), one text file a bin (KiDS), and the n(z)
extension of two-point FITS files (DES, KiDS; https://github.com/joezuntz/2point).
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from os.path import isfile
from typing import Any

import numpy as np

from mflens.errors import ConfigError
from mflens.problems import line

KEY = "simulate.survey.redshifts"
FITS_SUFFIXES = (".fits", ".fit", ".fits.gz")
# ASSUME sources beyond z_max may be dropped when they are at most this share of a bin
LARGEST_LOSS = 0.01


def read_redshifts(options: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return redshifts, shape (n_z,), and n(z) as they stand in the file, shape (n_bins, n_z).

    Parameters
    ----------
    options
        `path` of a text or FITS file, or a list of text files, one a bin; `z_column`, whether the
        redshifts of a text file are the middle or the lower edges of intervals; `extension` of a
        FITS file; `z_max`, beyond which sources are dropped.

    Raises
    ------
    ConfigError
        If a file is missing, of another format, or holds no distributions.
    """
    path = options["path"]
    for one in [path] if isinstance(path, str) else path:
        # numpy and astropy would take an address and download it
        if not isfile(one):
            raise ConfigError(
                f"{KEY}.path: there is no file '{one}'; give the path of a redshift table."
            )
    if isinstance(path, str) and path.lower().endswith(FITS_SUFFIXES):
        z, bins = _read_fits(path, options["extension"])
    elif isinstance(path, str):
        z, *columns = _read_text(path)
        bins = np.stack(columns)
    else:
        z, bins = _read_one_a_bin(path)
    if not str(path).lower().endswith(FITS_SUFFIXES) and options["z_column"] == "lower":
        z = _middle(z)
    _check(str(path), z, bins)
    return _cut(str(path), z, bins, options["z_max"])


def _read_text(path: str) -> np.ndarray:
    """Return the columns of a text table, shape (n_columns, n_rows)."""
    try:
        table = np.loadtxt(path, ndmin=2)
    except Exception as error:  # compressed files that are damaged raise many kinds
        raise ConfigError(
            f"{KEY}.path: '{path}' is no table of numbers ({line(error)}); give columns z, n_1, "
            "..., or a FITS file that ends in .fits."
        ) from error
    if table.shape[0] < 2 or table.shape[1] < 2:
        raise ConfigError(
            f"{KEY}.path: '{path}' has {table.shape[0]} rows and {table.shape[1]} columns; give a "
            "column z and one n(z) for each bin, over several rows."
        )
    return table.T


def _read_one_a_bin(paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read z and n(z) from the first two columns of one file a bin; a third may hold errors."""
    tables = [_read_text(path) for path in paths]
    z = tables[0][0]
    for path, table in zip(paths, tables, strict=True):
        if not np.array_equal(table[0], z):
            raise ConfigError(
                f"{KEY}.path: '{path}' has other redshifts than '{paths[0]}'; give files with the "
                "same first column."
            )
    return z, np.stack([table[1] for table in tables])


def _read_fits(path: str, extension: str) -> tuple[np.ndarray, np.ndarray]:
    """Read Z_MID and BIN1, BIN2, ... from a table of a FITS file."""
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
    bins = sorted(int(name[3:]) for name in table if re.fullmatch(r"BIN[0-9]{1,4}", name))
    if "Z_MID" not in table or not bins or bins != list(range(1, len(bins) + 1)):
        raise ConfigError(
            f"{KEY}.extension: table '{extension}' of '{path}' has the columns "
            f"{', '.join(table)}; an n(z) needs Z_MID and BIN1, BIN2, ..."
        )
    columns = [table["Z_MID"], *(table[f"BIN{i}"] for i in bins)]
    if any(column.ndim != 1 or column.dtype.kind not in "iuf" for column in columns):
        raise ConfigError(
            f"{KEY}.extension: table '{extension}' of '{path}' has columns that are no numbers; "
            "give one number a row."
        )
    z, *n = np.asarray(columns, dtype=float)
    return z, np.asarray(n)


def _middle(lower: np.ndarray) -> np.ndarray:
    """Return the middles of intervals given by their lower edges; the last is as wide as before."""
    return lower + np.append(np.diff(lower), lower[-1] - lower[-2]) / 2


def _check(path: str, z: np.ndarray, bins: np.ndarray) -> None:
    """Refuse what is no set of distributions, in order of depth."""
    if z.size < 2:
        raise ConfigError(f"{KEY}.path: '{path}' has {z.size} redshifts; give several.")
    if not (np.all(np.isfinite(z)) and np.all(np.diff(z) > 0) and z[0] >= 0):
        raise ConfigError(
            f"{KEY}.path: the redshifts of '{path}' are not finite numbers from 0 that increase; "
            "sort the rows and mend the column z."
        )
    for number, n in enumerate(bins, start=1):
        finite = np.isfinite(n)
        if not np.all(finite) or np.any(n < 0):
            at = int(np.argmin(finite & ~(n < 0)))
            raise ConfigError(
                f"{KEY}.path: n(z) of bin {number} in '{path}' is {n[at]:g} at z = {z[at]:g}; "
                "give finite values that are not negative."
            )
        if not np.any(n > 0):
            raise ConfigError(
                f"{KEY}.path: n(z) of bin {number} in '{path}' holds no sources; drop the bin or "
                "give another file."
            )
    means = np.trapezoid(z * bins, z, axis=1) / np.trapezoid(bins, z, axis=1)
    if not np.all(np.isfinite(means)):
        raise ConfigError(f"{KEY}.path: n(z) in '{path}' is too large to add up; scale it down.")
    for number, (near, far) in enumerate(pairwise(means), start=2):
        if far < near:
            raise ConfigError(
                f"{KEY}.path: bin {number} of '{path}' has mean redshift {far:.3g}, less than the "
                f"{near:.3g} of bin {number - 1}; put the bins in order of depth."
            )


def _cut(path: str, z: np.ndarray, bins: np.ndarray, z_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Drop the noisy tail of n(z) beyond `z_max`, if there is little in it."""
    kept = z <= z_max
    for number, n in enumerate(bins, start=1):
        lost = 1 - np.trapezoid(n[kept], z[kept]) / np.trapezoid(n, z)
        if lost > LARGEST_LOSS:
            raise ConfigError(
                f"{KEY}.z_max: {100 * lost:.2g} % of the sources of bin {number} of '{path}' lie "
                f"beyond z = {z_max:g}; raise it and let theory.shells reach as far."
            )
    return z[kept], bins[:, kept]
