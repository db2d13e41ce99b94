"""The footprint: which part of each pixel the survey observes."""

import logging
from collections.abc import Mapping
from functools import lru_cache
from os import stat
from os.path import isfile
from typing import Any

import numpy as np

from mflens.errors import ConfigError
from mflens.files.mask_files import KEY, read_mask

logger = logging.getLogger(__name__)

DEG2_OF_SKY = 4 * np.pi * (180 / np.pi) ** 2


def observed_fraction(mask: str | Mapping[str, Any], nside: int) -> np.ndarray:
    """Return the observed fraction of every pixel of the sky, NESTED, shape (12 nside^2,).

    Parameters
    ----------
    mask
        `octant` (0 < lon < 90 deg, lat > 0), `full`, `{caps: [{lon_deg, lat_deg, area_deg2}]}`
        (spherical caps), or a HEALPix FITS mask with values from 0 to 1: its path, or
        `{path, column}`; see `read_mask`.
    nside
        Resolution of the maps.

    Raises
    ------
    ConfigError
        If the file does not fit.
    """
    import healpy

    file = mask_file(mask)
    if file:
        return _read(file, nside)
    pixel = np.arange(12 * nside**2)
    if isinstance(mask, Mapping):
        return _inside_caps(mask["caps"], nside).astype(float)
    if mask == "full":
        return np.ones(pixel.size)
    theta, phi = healpy.pix2ang(nside, pixel, nest=True)
    return ((theta < np.pi / 2 - 1e-9) & (phi < np.pi / 2)).astype(float)


def _inside_caps(caps: list[Mapping[str, float]], nside: int) -> np.ndarray:
    """Say which pixel centres lie in any of the caps, NESTED."""
    import healpy

    directions = np.stack(healpy.pix2vec(nside, np.arange(12 * nside**2), nest=True), axis=1)
    inside = np.zeros(12 * nside**2, dtype=bool)
    for cap in caps:
        centre = healpy.ang2vec(cap["lon_deg"], cap["lat_deg"], lonlat=True)
        # a cap of opening angle t covers (1 - cos t) / 2 of the sphere
        inside |= directions @ centre >= 1 - 2 * cap["area_deg2"] / DEG2_OF_SKY
    return inside


def _read(mask: Mapping[str, Any], nside: int) -> np.ndarray:
    """Return the fractions of a mask in a file, NESTED, and log what was read."""
    fraction, notes = _load(mask, nside)
    for note in notes:
        logger.info(note)
    return fraction


def _load(mask: Mapping[str, Any], nside: int) -> tuple[np.ndarray, list[str]]:
    """Return what `read_mask` does, once for each state of a file: fine masks take seconds."""
    path = mask["path"]
    if not isfile(path):
        raise ConfigError(
            f"{KEY}: there is no file '{path}'; give octant, full, caps or the path of a FITS mask."
        )
    state = stat(path)
    return _load_state(path, nside, mask.get("column"), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _load_state(
    path: str, nside: int, column: str | None, *state: int
) -> tuple[np.ndarray, list[str]]:
    fraction, notes = read_mask(path, nside, column)
    fraction.flags.writeable = False
    return fraction, notes


def mask_notes(mask: str | Mapping[str, Any], nside: int) -> list[str]:
    """Return sentences on what was read of a mask, none if it is of no file."""
    file = mask_file(mask)
    return _load(file, nside)[1] if file else []


def mask_file(mask: str | Mapping[str, Any]) -> dict[str, Any] | None:
    """Return path and, if named, column of a mask that is a file, None of any other."""
    if isinstance(mask, Mapping):
        return {k: v for k, v in mask.items() if v is not None} if mask.get("path") else None
    return None if mask in ("octant", "full") else {"path": mask}
