"""What a tier is: a class that turns one cosmology and one draw into density shells.

A user's tier is any importable class with this interface, named in the config:

    simulate: {tiers: {my_tier: {class: my_module.MyTier, some_option: 1.0}}}

With `uses_mesh: true` there, its pairs share the phases of `draw.linear_density`.

Beside `density_shells` it may have `own_shells(cosmology, draw)`, which returns an object whose
`edges` are those of the shells it yields (Mpc/h), if they are not the sky's. In place of both it
may have `shear_maps(cosmology, draw)`, the noiseless shear of all bins, (n_bins, 2, n_pix), RING,
in HEALPix's axes: x to the South, y to the East (COSMO).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from mflens.errors import ConfigError
from mflens.simulate.mesh.lightcone import FIRST_OBSERVER, Mesh, Observer
from mflens.simulate.randomness import BaseMeasure
from mflens.theory.cosmology import Cosmology
from mflens.theory.kernels import Shells

BUILT_IN = {
    "lognormal": "mflens.simulate.lognormal.tier.Lognormal",
    "lpt": "mflens.simulate.mesh.particles.LagrangianPerturbation",
    "particle_mesh": "mflens.simulate.mesh.particles.ParticleMesh",
    "baryons": "mflens.simulate.mesh.baryons.Baryons",
    "shells_on_disk": "mflens.simulate.on_disk.ShellsOnDisk",
    "shear_on_disk": "mflens.simulate.on_disk.ShearOnDisk",
}


@dataclass(frozen=True)
class Sky:
    """The discretisation that all tiers share.

    Attributes
    ----------
    shells
        Comoving shells (Mpc/h).
    nside
        HEALPix resolution of the density shells.
    ell_max
        Largest multipole, at most 2 nside.
    mesh
        The periodic box of the mesh tiers and of their initial conditions.
    """

    shells: Shells
    nside: int
    ell_max: int
    mesh: Mesh


class Draw:
    """One draw of the base measure at one cosmology, as the tiers see it.

    Parameters
    ----------
    base
        The random numbers.
    density
        Makes the Fourier mesh of the linear density today.
    harmonics
        Makes the unit-variance coefficients of the shells, shape (n_shells, n_alm).
    file
        Where the sim lies below the folder of a tier that reads, else empty.
    observers, number
        All who observe the box of this density, and which of them sees this draw.
    shared
        What a tier keeps for the other observers of the box.

    Density and coefficients are made when first asked for and kept.
    """

    def __init__(
        self,
        base: BaseMeasure,
        density: Callable[[], np.ndarray],
        harmonics: Callable[["Draw"], np.ndarray],
        file: str = "",
        observers: Sequence[Observer] = (FIRST_OBSERVER,),
        number: int = 0,
        shared: dict[Any, Any] | None = None,
    ) -> None:
        self.base, self.file = base, file
        self.observers, self.number = observers, number
        self.shared = {} if shared is None else shared
        self._density, self._harmonics = density, harmonics

    @property
    def used_harmonics(self) -> bool:
        """Whether a tier has asked for the coefficients."""
        return "harmonics" in vars(self)

    @cached_property
    def linear_density(self) -> np.ndarray:
        """Fourier mesh (rfftn) of the linear density contrast today."""
        return self._density()

    @cached_property
    def harmonics(self) -> np.ndarray:
        """White coefficients of the shells, <|a|^2> = 1, shape (n_shells, n_alm).

        In double precision if they are matched to the mesh, else in single.
        """
        return self._harmonics(self)


class Tier(Protocol):
    """The interface of a tier; `__init__(sky, **options)` gets the options of the config."""

    def density_shells(self, cosmology: Cosmology, draw: Draw) -> Iterable[np.ndarray]:
        """Return the density contrast of the shells, nearest first, each of shape (n_pix,), RING.

        In single or double precision; an array, a list or a generator.
        """
        ...


def tier_class(name: str, options: Mapping[str, Any]) -> type[Tier]:
    """Return the class of the tier `name`: a built-in one or the config's `class`.

    Raises
    ------
    ConfigError
        If the class cannot be imported or is not a tier.
    """
    path = options.get("class", BUILT_IN.get(name))
    if path is None:
        raise ConfigError(
            f"ladder: unknown tier '{name}'; name one of {', '.join(BUILT_IN)}, or give "
            f"simulate.tiers.{name} a `class`."
        )
    module, _, attribute = path.rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"simulate.tiers.{name}.class: '{path}' cannot be imported ({error}); give the "
            "importable name of a class."
        ) from error
    if not hasattr(found, "density_shells") and not hasattr(found, "shear_maps"):
        raise ConfigError(
            f"simulate.tiers.{name}.class: '{path}' has no method density_shells or shear_maps; "
            "see mflens.simulate.tiers."
        )
    return found


def make_tier(name: str, options: Mapping[str, Any], sky: Sky) -> Tier:
    """Build the tier `name` with its options.

    Raises
    ------
    ConfigError
        If the class does not take these options.
    """
    found: Any = tier_class(name, options)
    kept = {key: value for key, value in options.items() if key not in ("class", "uses_mesh")}
    try:
        return found(sky, **kept)
    except TypeError as error:
        raise ConfigError(
            f"simulate.tiers.{name}: {found.__name__} does not take these options ({error})."
        ) from error
