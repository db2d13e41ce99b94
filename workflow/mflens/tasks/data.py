"""From a task's simulators to what methods learn from, with a leading axis of repetitions."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np
import torch

from mflens.infer.losses import Pairs
from mflens.infer.tasks import TaskData, TaskSettings
from mflens.prior import Prior
from mflens.tasks.plan import Settings, is_single
from mflens.tasks.simulators.toys import Toy

Arrays = dict[str, np.ndarray]


def draw_repetitions(
    toy: Toy,
    sizes: Mapping[str, int],
    repetitions: int,
    *,
    shared: float,
    seed: int | Sequence[int],
) -> Arrays:
    """Draw the sims of all repetitions of an experiment.

    Parameters
    ----------
    toy
        Simulators of the task.
    sizes
        Sims of every split.
    repetitions
        How often everything is drawn, from independent streams of random numbers.
    shared
        Probability that a random number of a pair's cheaper member is the other's.
    seed
        Of everything.

    Returns
    -------
    dict
        `<split>/theta`, shape (repetition, n, d), and `<split>/<tier>`, (repetition, n, feature).
    """
    streams = np.random.default_rng(seed).spawn(repetitions)
    drawn = [toy.draw(sizes, rng, shared) for rng in streams]
    return {
        f"{split}/{name}": np.stack([repetition[split][name] for repetition in drawn])
        for split, arrays in drawn[0].items()
        for name in arrays
    }


def draw_splits(
    toy: Toy,
    sizes: Mapping[str, int],
    repetitions: int,
    *,
    shared: float,
    seed: int | Sequence[int],
) -> dict[str, Arrays]:
    """Return what `draw_repetitions` draws as split to arrays by name."""
    splits: dict[str, Arrays] = {split: {} for split in sizes}
    drawn = draw_repetitions(toy, sizes, repetitions, shared=shared, seed=seed)
    for key, values in drawn.items():
        split, _, name = key.partition("/")
        splits[split][name] = values
    return splits


def engine_settings(settings: Settings, seed: int) -> TaskSettings:
    """Return what the inference engine takes of the settings of an experiment."""
    names = [field.name for field in fields(TaskSettings) if field.name != "seed"]
    return TaskSettings(**{name: settings[name] for name in names}, seed=seed)


def training_data(
    splits: Mapping[str, Arrays],
    ladder: Sequence[str],
    levels: Sequence[int],
    *,
    estimator: str,
    prior: Prior,
) -> TaskData:
    """Return what the methods of a run learn from, the first sims of every split.

    Parameters
    ----------
    splits
        Split to `theta` and the observations of its tiers, (repetition, n, ...) each.
    ladder
        Names of the tiers, cheapest first.
    levels
        Numbers of sims; where one alone is not zero its tier is the whole ladder.
    estimator
        NPE or NLE.
    prior
        Normalises the parameters.
    """

    def tensors(split: str, n: int, *tiers: str) -> list[torch.Tensor]:
        arrays = splits[split]
        y = prior.to_normal(arrays["theta"][:, :n])
        kept = [*(arrays[tier][:, :n] for tier in tiers), y]
        return [torch.as_tensor(array, dtype=torch.float32) for array in kept]

    if is_single(levels):
        tier, n = next((tier, n) for tier, n in zip(ladder, levels, strict=True) if n)
        x, y = tensors(f"single_{tier}", n, tier)
        return TaskData(estimator, [tier], (x, y), [])
    x, y = tensors("bulk", levels[0], ladder[0])
    pairs = [
        Pairs(high, *tensors(f"pairs_{high}", n, low, high))
        for low, high, n in zip(ladder[:-1], ladder[1:], levels[1:], strict=True)
    ]
    return TaskData(estimator, list(ladder), (x, y), pairs)
