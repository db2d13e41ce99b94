"""Redshift distributions of the sources: by formula or from a file, shifted and stretched."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mflens.errors import ConfigError
from mflens.files.redshift_files import Sources, mean_redshift, read_redshifts
from mflens.parameters import N_SIGMA, Z_FAR
from mflens.problems import AUTO

Z_STEP = 0.005


def source_distributions(options: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return redshifts (n_z,) and the sources' normalised distributions (n_bins, n_z).

    See `read_sources`.
    """
    sources = read_sources(options)
    return sources.z, sources.n


def read_sources(options: Mapping[str, Any]) -> Sources:
    """Return the sources of all bins, their distributions normalised.

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
        If a bin holds no sources, sources are too far or a file is no set of distributions.
    """
    if options["kind"] == "file":
        sources = read_redshifts(options)
        z, n = sources.z, sources.n
    else:
        end = formula_end(options)
        if not end <= Z_FAR:
            raise ConfigError(
                f"simulate.survey.redshifts.z_max: sources reach z = {end:g}, but beyond z = "
                f"{Z_FAR:g} matter is not followed; lower the redshift."
            )
        z = np.arange(0.0, end + Z_STEP / 2, Z_STEP)
        n = _smail(z, options) if options["kind"] == "smail" else _gaussian(z, options)
    norm = np.asarray(np.trapezoid(n, z, axis=1))
    if not np.all(norm > 0):
        raise ConfigError(
            f"simulate.survey.redshifts: bin {int(np.argmin(norm)) + 1} holds no sources; move "
            "its edges or mend the file."
        )
    n = n / norm[:, None]
    if options["kind"] == "file":
        return replace(sources, n=n)
    return Sources(z, n, mean_redshift(z, n), np.zeros(len(n)))


def formula_end(options: Mapping[str, Any]) -> float:
    """Return the redshift at which sources given by formula end: `z_max`, or what `auto` means."""
    if options["z_max"] != AUTO:
        return float(options["z_max"])
    if options["kind"] == "smail":
        return float(options["edges"][-1])
    return float(max(m + N_SIGMA * s for m, s in zip(options["mean"], options["sd"], strict=True)))


def _smail(z: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Return the distribution of Amara & Refregier 2007, astro-ph/0610127, in photometric bins."""
    total = z ** options["alpha"] * np.exp(-((z / options["z_0"]) ** options["beta"]))
    width = math.sqrt(2) * options["sigma_z"] * (1 + z)
    # so few that scipy need not be loaded whenever the rules are read
    below = [np.array([math.erf(x) for x in (edge - z) / width]) for edge in options["edges"]]
    # the share of all galaxies whose photometric redshift is positive
    positive = 1 + np.array([math.erf(x) for x in z / width])
    return np.diff(below, axis=0) * total / positive


def _gaussian(z: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    mean, sd = (np.asarray(options[key], dtype=float)[:, None] for key in ("mean", "sd"))
    return np.exp(-0.5 * ((z - mean) / sd) ** 2)


def cumulative(z: np.ndarray, n: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the integral of n from the first redshift to others, exact for n linear between.

    Parameters
    ----------
    z, n
        Redshifts, shape (n_z,), and distributions, shape (..., n_z), zero outside.
    at
        Redshifts up to which to integrate, any shape.

    Returns
    -------
    array
        Shape of n without its last axis + shape of `at`.
    """
    width = np.diff(z)
    whole = np.cumsum(width * (n[..., 1:] + n[..., :-1]) / 2, axis=-1)
    whole = np.concatenate([np.zeros_like(whole[..., :1]), whole], axis=-1)
    at = np.clip(at, z[0], z[-1])
    i = np.clip(np.searchsorted(z, at, side="right") - 1, 0, z.size - 2)
    step = at - z[i]
    slope = (n[..., i + 1] - n[..., i]) / width[i]
    return whole[..., i] + step * (n[..., i] + slope * step / 2)


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
