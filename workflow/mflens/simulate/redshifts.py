"""Redshift distributions of the sources: by formula or from a file, shifted and stretched."""

from collections.abc import Mapping
from typing import Any

import glass
import numpy as np

from mflens.errors import ConfigError
from mflens.simulate.redshift_files import read_redshifts

Z_STEP = 0.005


def source_distributions(options: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return redshifts (n_z,) and the sources' normalised distributions (n_bins, n_z).

    Parameters
    ----------
    options
        `kind: smail` with `z_0, alpha, beta, sigma_z, z_max, edges`: a Smail distribution cut into
        bins of Gaussian photometric redshifts (scatter sigma_z (1 + z)); `kind: gaussian` with
        `mean, sd, z_max`: a Gaussian a bin, cut at 0 and z_max; or `kind: file`, see
        `redshift_files.read_redshifts`.

    Raises
    ------
    ConfigError
        If a bin holds no sources or a file is no set of distributions.
    """
    if options["kind"] == "file":
        z, bins = read_redshifts(options)
    else:
        z = np.arange(0.0, options["z_max"] + Z_STEP / 2, Z_STEP)
        bins = _smail(z, options) if options["kind"] == "smail" else _gaussian(z, options)
    norm = np.asarray(np.trapezoid(bins, z, axis=1))
    if not np.all(norm > 0):
        raise ConfigError(
            f"simulate.survey.redshifts: bin {int(np.argmin(norm)) + 1} holds no sources; move "
            "its edges or mend the file."
        )
    return z, bins / norm[:, None]


def _smail(z: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    mode = options["z_0"] * (options["alpha"] / options["beta"]) ** (1 / options["beta"])
    total = glass.smail_nz(z, mode, options["alpha"], options["beta"])
    edges = options["edges"]
    pairs = list(zip(edges[:-1], edges[1:], strict=True))
    return np.asarray(glass.tomo_nz_gausserr(z, total, options["sigma_z"], pairs))


def _gaussian(z: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    mean, sd = (np.asarray(options[key], dtype=float)[:, None] for key in ("mean", "sd"))
    return np.exp(-0.5 * ((z - mean) / sd) ** 2)


def move_distribution(
    z: np.ndarray, n: np.ndarray, shift: float, stretch: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return redshifts and n(z) of one bin, shifted and stretched about its mean.

    Parameters
    ----------
    z, n
        The distribution, normalised, shapes (n_z,).
    shift
        delta_z: the mean moves from <z> to <z> + delta_z, n(z) to n(z - delta_z).
    stretch
        Factor of the width about the mean.

    Notes
    -----
    n'(z) ~ n((z - <z> - delta_z) / stretch + <z>), the convention of DES (arXiv:2105.13549).

    ASSUME sources that the shift moves below z = 0 are lost; lensing does not see them.
    """
    if shift == 0 and stretch == 1:
        return z, n
    mean = np.trapezoid(z * n, z)
    moved = mean + stretch * (z - mean) + shift
    real = moved >= 0
    moved, n = moved[real], n[real]
    return moved, n / np.trapezoid(n, moved)


def cumulative(z: np.ndarray, n: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the share of sources below redshifts `at`, of their shape.

    Parameters
    ----------
    z, n
        A distribution, linear between these redshifts and nothing beyond, shapes (n_z,).
    at
        Redshifts, any shape.
    """
    steps = np.diff(z)
    below = np.append(0.0, np.cumsum(0.5 * steps * (n[1:] + n[:-1])))
    left = np.clip(np.searchsorted(z, at, side="right") - 1, 0, z.size - 2)
    inside = np.clip(at - z[left], 0.0, steps[left])
    slope = (n[left + 1] - n[left]) / steps[left]
    return (below[left] + inside * (n[left] + 0.5 * slope * inside)) / below[-1]
