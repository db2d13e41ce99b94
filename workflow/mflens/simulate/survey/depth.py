"""How far the sources are and the shells reach, at the corners of the prior.

For the check of the config and the number of shells that is `auto`, so nothing heavy is imported.
"""

import math
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from mflens.parameters import DARK_ENERGY, given, reach

LIGHT_SPEED_OVER_100 = 2997.92458  # c / (100 km/s/Mpc) in Mpc
OMEGA_M_FLOOR = 0.05
FEWEST_SHELLS = 2
N_TABLE = 2049
Z_END = 1000.0  # of the table from which redshifts are read


class Corner(NamedTuple):
    """A flat universe, as far as distances in Mpc/h see it."""

    Omega_m: float
    w0: float
    wa: float

    def __str__(self) -> str:
        """Name what is not as usual."""
        values = self._asdict()
        said = [n for n in values if values[n] != DARK_ENERGY.get(n)]
        return ", ".join(f"{name} = {values[name]:g}" for name in said)


class Corners(NamedTuple):
    """The prior's corners at which a redshift is farthest and nearest, and its centre."""

    farthest: Corner
    centre: Corner
    nearest: Corner


def corners(parameters: Mapping[str, Any]) -> Corners:
    """Return where distances are extreme in the config's `theory.parameters`."""
    entries = DARK_ENERGY | given(parameters)
    names = ("Omega_m", *DARK_ENERGY)
    low, high = (Corner(*ends) for ends in zip(*(reach(entries[n]) for n in names), strict=True))
    centre = Corner(*((a + b) / 2 for a, b in zip(low, high, strict=True)))
    return Corners(*(c._replace(Omega_m=_possible(c.Omega_m)) for c in (low, centre, high)))


def _possible(omega_m: float) -> float:
    return min(max(omega_m, OMEGA_M_FLOOR), 1.0)


def comoving_distance(
    z: float | np.ndarray, Omega_m: float, w0: float = -1.0, wa: float = 0.0
) -> np.ndarray:
    """Return comoving distances in Mpc/h to redshifts z in a flat universe without radiation."""
    x, chi = _table(float(np.max(z)), Corner(Omega_m, w0, wa))
    return np.interp(np.log1p(z), x, chi)


def redshift_at(distance: float | np.ndarray, corner: Corner) -> np.ndarray:
    """Return redshifts at comoving distances in Mpc/h; `Z_END` beyond all that can be seen."""
    x, chi = _table(Z_END, corner)
    return np.expm1(np.interp(distance, chi, x))


def _table(z_end: float, corner: Corner) -> tuple[np.ndarray, np.ndarray]:
    """Return ln(1 + z) and the distance there in Mpc/h, shapes (N_TABLE,)."""
    x = np.linspace(0.0, math.log1p(z_end), N_TABLE)
    a = np.exp(-x)
    dark = a ** (-3 * (1 + corner.w0 + corner.wa)) * np.exp(-3 * corner.wa * (1 - a))
    expansion = np.sqrt(corner.Omega_m / a**3 + (1 - corner.Omega_m) * dark)
    rate = LIGHT_SPEED_OVER_100 / (a * expansion)
    steps = (rate[1:] + rate[:-1]) / 2 * np.diff(x)
    return x, np.append(0.0, np.cumsum(steps))


def shifted(deepest: np.ndarray, mean: np.ndarray, nuisances: Mapping[str, Any]) -> float:
    """Return the redshift of the deepest source under the nuisances that move n(z).

    Parameters
    ----------
    deepest, mean
        Redshift of the deepest source and mean redshift of each bin, shapes (n_bins,).
    nuisances
        The config's `simulate.survey.nuisances`.
    """
    ends = []
    for b, (end, middle) in enumerate(zip(deepest, mean, strict=True), start=1):
        shifts = reach(nuisances.get(f"delta_z_{b}", 0.0))
        widths = reach(nuisances.get(f"stretch_{b}", 1.0))
        moved = [middle + s * (end - middle) + d for d, s in product(shifts, widths)]
        ends.append(max(end, *moved))
    return float(max(ends))


def shells_needed(z: float, theory: Mapping[str, Any]) -> int:
    """Return the smallest number of shells that reaches redshift z everywhere in the prior.

    Parameters
    ----------
    z
        Redshift of the deepest source.
    theory
        The config's `theory`.
    """
    distance = float(comoving_distance(z, *corners(theory["parameters"]).farthest))
    return max(math.ceil(distance / theory["shells"]["thickness_mpc_h"]), FEWEST_SHELLS)
