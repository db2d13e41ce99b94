"""One cosmology with its theory, put together from CAMB (or its emulator), growth and kernels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mflens.theory.distances import Distances
from mflens.theory.growth import Growth, growth_of
from mflens.theory.kernels import Shells
from mflens.theory.power import Power, compute_background, compute_power
from mflens.theory.spectra import (
    ShellGrowth,
    interpolate_power,
    shell_growth,
    shell_spectra,
)

if TYPE_CHECKING:
    from cosmology.compat.camb import Cosmology as Background

# as `Emulator.power`: all parameters by name, redshifts, largest wavenumber in h/Mpc, growth
PowerSource = Callable[[Mapping[str, float], np.ndarray, float, Growth], Power]


@dataclass(frozen=True)
class Geometry:
    """Background and growth of one cosmology on the shells.

    Attributes
    ----------
    parameters
        All parameters by name.
    background
        CAMB's background behind the cosmology API that GLASS uses; distances in Mpc.
    distances
        Comoving distances.
    growth, shell_growth
        Growth table, and growth in the shells.
    """

    parameters: Mapping[str, float]
    background: "Background"
    distances: Distances
    growth: Growth
    shell_growth: ShellGrowth


def make_geometry(parameters: Mapping[str, float], shells: Shells) -> Geometry:
    """Compute background and growth for one set of parameters."""
    from cosmology.compat.camb import Cosmology as Background

    background = Background(compute_background(parameters))
    growth = growth_of(parameters)
    distances = Distances(background, parameters["h"])
    inside = shell_growth(shells, distances, growth)
    return Geometry(parameters, background, distances, growth, inside)


@dataclass(frozen=True)
class Cosmology(Geometry):
    """One cosmology and its theory, as the tiers see it.

    Attributes
    ----------
    id
        Number of the cosmology.
    k, linear
        Linear power today in (Mpc/h)^3 at k in h/Mpc, shapes (n_k,).
    nonlinear
        Non-linear power in each shell in (Mpc/h)^3, at the shell's `shell_growth.z`, shape
        (n_shells, n_k).
    spectra
        Non-linear C_l^{ij} of the shells' density, shape (ell_max + 1, n_shells, n_shells).
    """

    id: int
    k: np.ndarray
    linear: np.ndarray
    nonlinear: np.ndarray
    spectra: np.ndarray


def make_cosmology(
    number: int,
    parameters: Mapping[str, float],
    shells: Shells,
    weights: np.ndarray,
    k: np.ndarray,
    nonlinear: str,
    emulate: PowerSource | None = None,
) -> Cosmology:
    """Compute power spectra and project them onto the shells.

    Parameters
    ----------
    number
        Number of the cosmology.
    parameters
        All parameters by name.
    shells
        The shells.
    weights, k
        Compressed kernels (`compress_kernels`) and their nodes in h/Mpc.
    nonlinear
        CAMB's name of the non-linear model.
    emulate
        Stands in for CAMB's power where it is given (`Emulator.power`).
    """
    geometry = make_geometry(parameters, shells)
    growth = geometry.shell_growth
    if emulate is None:
        power = compute_power(parameters, growth.z, k[-1], nonlinear)
    else:
        power = emulate(parameters, growth.z, k[-1], geometry.growth)
    _, evolved = interpolate_power(power, k)
    spectra = shell_spectra(weights, growth, evolved)
    return Cosmology(
        **vars(geometry),
        id=number,
        k=power.k,
        linear=power.linear,
        nonlinear=power.nonlinear,
        spectra=spectra,
    )
