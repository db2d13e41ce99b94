"""What an emulator of the power spectra is trained for: the range of every parameter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mflens.design.draw import sobol_points
from mflens.errors import ConfigError
from mflens.parameters import AMPLITUDES, DARK_ENERGY, power_parameters, reach

EMULATOR_STREAM = 1_000_003  # apart from the streams of the design


@dataclass(frozen=True)
class Domain:
    """A box of cosmologies.

    Attributes
    ----------
    free
        Lowest and highest value of the parameters that vary, by name.
    fixed
        Values of the others that the power depends on, by name.
    """

    free: dict[str, tuple[float, float]]
    fixed: dict[str, float]

    @classmethod
    def of(cls, parameters: Mapping[str, Any], nonlinear: str) -> "Domain":
        """Return the reach of the priors in the config's `theory.parameters`."""
        entries = power_parameters(parameters, nonlinear)
        free = {name: reach(entry) for name, entry in entries.items() if isinstance(entry, Mapping)}
        return cls(free, {name: float(e) for name, e in entries.items() if name not in free})

    @property
    def amplitude(self) -> str:
        """Name of the parameter that gives the amplitude of the power."""
        return next(name for name in AMPLITUDES if name in {*self.free, *self.fixed})

    def draw(self, n: int, seed: int, stream: int) -> np.ndarray:
        """Draw free parameters, shape (n, d), from a scrambled Sobol sequence of its own."""
        streams = np.random.SeedSequence(seed, spawn_key=(EMULATOR_STREAM, stream))
        u = sobol_points(n, len(self.free), rng=np.random.default_rng(streams))
        low, high = np.array(list(self.free.values())).T
        return low + u * (high - low)

    def complete(self, theta: np.ndarray) -> dict[str, float]:
        """Return all parameters by name for one theta of shape (d,)."""
        return {**self.fixed, **dict(zip(self.free, map(float, theta), strict=True))}

    def amplitudes(self, parameters: Mapping[str, float], n: int) -> list[dict[str, float]]:
        """Return n cosmologies from one: evenly spread amplitudes, the first its own."""
        name = self.amplitude
        if name not in self.free:
            return [dict(parameters)]
        low, high = self.free[name]
        u = ((parameters[name] - low) / (high - low) + np.arange(n) / n) % 1
        return [{**parameters, name: low + share * (high - low)} for share in u]

    def check(self, parameters: Mapping[str, float]) -> None:
        """Refuse a cosmology outside the box.

        Raises
        ------
        ConfigError
            It names the parameter, its value and its range.
        """
        for name in (*self.free, *self.fixed):
            low, high = self.free.get(name, (self.fixed.get(name, 0.0),) * 2)
            value = parameters.get(name, DARK_ENERGY.get(name))
            slack = 1e-9 * max(abs(low), abs(high))
            if value is None or not low - slack <= value <= high + slack:
                raise ConfigError(
                    f"theory.parameters.{name}: {'none' if value is None else f'{value:g}'} is "
                    f"outside the emulator's range, {low:g} to {high:g}; change it, train the "
                    "emulator for it or set theory.power to camb."
                )
