"""Intrinsic alignments of the sources: the non-linear alignment model (NLA)."""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mflens.parameters import SHAPE
from mflens.theory.growth import Growth, growth_of

if TYPE_CHECKING:
    from cosmology.compat.camb import Cosmology as Background

# in Mpc^3 / Msun for h = 1; the normalisation to SuperCOSMOS of astro-ph/0009499
C_1 = 5e-14


def alignment(
    z: np.ndarray, background: "Background", parameters: Mapping[str, float]
) -> np.ndarray:
    """Return f_NLA(z) = kappa_IA / delta, of the shape of z.

    Parameters
    ----------
    z
        Redshifts.
    background
        Density parameters.
    parameters
        `Omega_m` and the nuisances `A_IA` and, with a power law in redshift, `eta_IA` and
        `z_pivot_IA`.

    Notes
    -----
    f_NLA = -A_IA C_1 rho_crit Omega_m / D(z) ((1 + z) / (1 + z_pivot))^eta, with D = 1 today
    (astro-ph/0406275; arXiv:0705.0166; GLASS, arXiv:2302.01942, equation of kappa_IA).

    ASSUME alignments follow the non-linear density of the shell, smoothed over the shell's
    thickness, with one amplitude for all sources and no dependence on luminosity.
    """
    density = C_1 / background.h**2 * background.critical_density0 * background.Omega_m0
    power = parameters.get("eta_IA", 0.0)
    pivot = parameters.get("z_pivot_IA", 0.0)
    shape = tuple((name, parameters[name]) for name in SHAPE if name in parameters)
    growth = _growth(shape).at("first", 1 / (1 + z))
    return -parameters["A_IA"] * density / growth * ((1 + z) / (1 + pivot)) ** power


@lru_cache(maxsize=8)
def _growth(shape: tuple[tuple[str, float], ...]) -> Growth:
    """Solve the growth once for the sims that share a cosmology."""
    return growth_of(dict(shape))
