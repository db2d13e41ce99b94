"""The published tasks' simulators as tiers: cheap, exact, and seed-matched by uniform numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mflens.errors import ConfigError
from mflens.prior import Prior
from mflens.tasks.simulators import camels, g_and_k, ornstein_uhlenbeck, toggle_switch
from mflens.tasks.simulators.splits import check_splits, ladder_splits, split_streams

CHUNK = 20000  # sims whose random numbers are in memory at a time


class ToyTier(Protocol):
    """The interface of a toy simulator of one fidelity.

    Attributes
    ----------
    cost
        Of one sim, in steps or draws of noise: only ratios within a task mean something.
    n_base
        How many random numbers a sim uses.
    """

    cost: float
    n_base: int

    def observe(self, theta: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return observations, shape (n, n_features).

        Parameters
        ----------
        theta
            Parameters, shape (n, d).
        base
            Uniform numbers, shape (n, at least n_base), of which the first n_base count: tiers
            that are given the same ones are seed-matched.
        """
        ...


class ExactPosterior(Protocol):
    """The exact posterior of a task's most expensive tier."""

    def sample(self, x: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Return samples, shape (n, n_samples, d), given observations x, shape (n, n_features)."""
        ...


class Toy(Protocol):
    """A published task's simulators.

    Attributes
    ----------
    ladder
        Names of the tiers, cheapest first.
    costs
        Cost of one sim of each tier.
    parameters
        Name to prior, as `mflens.prior.Prior` takes it.
    """

    ladder: list[str]
    costs: list[float]
    parameters: dict[str, Any]

    @property
    def posterior(self) -> ExactPosterior | None:
        """Exact posterior of the most expensive tier, where it is known."""
        ...

    def draw(
        self, sizes: Mapping[str, int], rng: np.random.Generator, shared: float
    ) -> dict[str, dict[str, np.ndarray]]:
        """Draw the sims of splits.

        Parameters
        ----------
        sizes
            Split to its number of sims; `splits.ladder_splits` names the splits.
        rng
            Gives every split streams of its own: a split depends on neither the sizes nor the
            presence of the others, and a smaller one is the beginning of a larger one.
        shared
            Probability that a random number of the cheaper member of a pair is the other's: 1 for
            seed-matched pairs, 0 for pairs that share parameters only.

        Returns
        -------
        dict
            Split to `theta`, shape (n, d), and the observations of its tiers, (n, n_features).
        """
        ...

    def simulate(self, tier: str, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Simulate a tier once at each of the given parameters.

        Parameters
        ----------
        tier
            Its name.
        theta
            Shape (..., d).
        rng
            Draws all random numbers.

        Returns
        -------
        array
            Shape (..., n_features).
        """
        ...


class SimulatedToy:
    """A task whose tiers are simulated.

    Parameters
    ----------
    tiers
        Cheapest first.
    parameters
        Name to prior.
    posterior
        Exact posterior of the most expensive tier, where it is known.
    """

    def __init__(
        self,
        tiers: Mapping[str, ToyTier],
        parameters: Mapping[str, Any],
        posterior: ExactPosterior | None = None,
    ) -> None:
        self.tiers = dict(tiers)
        self.posterior = posterior
        self.ladder = list(tiers)
        self.costs = [tier.cost for tier in tiers.values()]
        self.parameters = dict(parameters)
        self.prior = Prior(parameters)

    def draw(
        self, sizes: Mapping[str, int], rng: np.random.Generator, shared: float
    ) -> dict[str, dict[str, np.ndarray]]:
        """Draw the sims of splits; see `Toy.draw`."""
        check_splits(sizes, self.ladder)
        splits = ladder_splits(self.ladder)
        streams = split_streams(self.ladder, rng)
        return {
            split: self._draw_split(splits[split], n, streams[split], shared)
            for split, n in sizes.items()
        }

    def _draw_split(
        self, names: Sequence[str], n: int, rng: np.random.Generator, shared: float
    ) -> dict[str, np.ndarray]:
        *cheaper, top = names
        draw_theta, draw_base, draw_shared, draw_fresh = rng.spawn(4)
        theta = self.prior.from_unit(draw_theta.random((n, len(self.prior.names))))
        shape = (n, max(self.tiers[name].n_base for name in names))
        base = draw_base.random(shape)
        arrays = {"theta": theta, top: self.tiers[top].observe(theta, base)}
        for tier in cheaper:
            keep = draw_shared.random(shape) < shared
            base_tier = np.where(keep, base, draw_fresh.random(shape))
            arrays[tier] = self.tiers[tier].observe(theta, base_tier)
        return arrays

    def simulate(self, tier: str, theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Simulate a tier at given parameters; see `Toy.simulate`."""
        simulator = self.tiers[tier]
        flat = theta.reshape(-1, theta.shape[-1])
        x = [
            simulator.observe(part, rng.random((len(part), simulator.n_base)))
            for part in np.split(flat, range(CHUNK, len(flat), CHUNK))
        ]
        return np.concatenate(x).reshape(*theta.shape[:-1], -1)


def make_toy(task: str, options: Mapping[str, Any]) -> Toy:
    """Build a published task's simulators.

    Parameters
    ----------
    task
        Its name.
    options
        The options of `tasks.<task>` and of the experiment.

    Raises
    ------
    ConfigError
        If the task is unknown or does not take these options.
    """
    if task not in BUILDERS:
        raise ConfigError(f"tasks: unknown task '{task}'; name one of {', '.join(BUILDERS)}.")
    try:
        return BUILDERS[task](**options)
    except TypeError as error:
        raise ConfigError(f"tasks.{task}.options: they do not fit ({error}).") from error


def _g_and_k(*, m: int, prefactor: str, gap: float) -> Toy:
    tiers = g_and_k.make_tiers(m=m, prefactor=prefactor, gap=gap)
    exact = g_and_k.ExactPosterior(m) if m >= g_and_k.LEAST_NORMAL else None
    return SimulatedToy(tiers, g_and_k.PARAMETERS, exact)


def _ornstein_uhlenbeck(*, points: Sequence[int], initial: str) -> Toy:
    process = ornstein_uhlenbeck
    parameters = process.free_parameters(initial)
    exact = process.ExactPosterior(points, parameters)
    return SimulatedToy(process.make_tiers(points=points), parameters, exact)


def _toggle_switch(*, steps: Sequence[int]) -> Toy:
    return SimulatedToy(toggle_switch.make_tiers(steps=steps), toggle_switch.PARAMETERS)


BUILDERS: dict[str, Callable[..., Toy]] = {
    "g_and_k": _g_and_k,
    "ornstein_uhlenbeck": _ornstein_uhlenbeck,
    "toggle_switch": _toggle_switch,
    "camels": camels.Spectra,
}
