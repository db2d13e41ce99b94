"""The footprint: which part of each pixel the survey observes."""

from collections.abc import Mapping
from os.path import isfile
from pathlib import Path
from typing import Any

import numpy as np

from mflens.errors import ConfigError
from mflens.problems import line

DEG2_OF_SKY = 4 * np.pi * (180 / np.pi) ** 2


def observed_fraction(mask: str | Mapping[str, Any], nside: int) -> np.ndarray:
    """Return the observed fraction of every pixel of the sky, NESTED, shape (12 nside^2,).

    Parameters
    ----------
    mask
        `octant` (0 < lon < 90 deg, lat > 0), `full`, `{caps: [{lon_deg, lat_deg, area_deg2}]}`
        (spherical caps), or the path of a HEALPix FITS mask with values from 0 to 1.
    nside
        Resolution of the maps, which a mask file must have.

    Raises
    ------
    ConfigError
        If the file does not fit.
    """
    import healpy

    pixel = np.arange(12 * nside**2)
    if isinstance(mask, Mapping):
        return _inside_caps(mask["caps"], nside).astype(float)
    if mask == "full":
        return np.ones(pixel.size)
    if mask == "octant":
        theta, phi = healpy.pix2ang(nside, pixel, nest=True)
        return ((theta < np.pi / 2 - 1e-9) & (phi < np.pi / 2)).astype(float)
    return _read_mask(mask, nside)


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


def _read_mask(path: str, nside: int) -> np.ndarray:
    import healpy

    key = "simulate.survey.mask"
    if not isfile(path):
        raise ConfigError(
            f"{key}: there is no file '{path}'; give octant, full, caps or the path of a FITS mask."
        )
    try:
        values = healpy.read_map(Path(path), nest=True, dtype=float)
        found = healpy.get_nside(values)
    except Exception as error:  # healpy and astropy raise many kinds
        raise ConfigError(
            f"{key}: '{path}' is no HEALPix FITS map ({line(error)}); give another file."
        ) from error
    if found != nside:
        raise ConfigError(
            f"{key}: '{path}' has nside {found} but simulate.nside = {nside}; "
            "regrade the mask or change nside."
        )
    # partial maps mark what they leave out with UNSEEN
    values[values == healpy.UNSEEN] = 0.0
    wrong = ~((values >= 0) & (values <= 1))
    if np.any(wrong):
        raise ConfigError(
            f"{key}: '{path}' holds {values[wrong][0]} in {np.count_nonzero(wrong)} pixel(s); give "
            "a mask with values from 0 to 1, NaN nowhere."
        )
    return values
