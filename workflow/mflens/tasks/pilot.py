"""The pilot of sample allocation: what a sim of every level costs, and how much its loss varies."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mflens.infer.losses import Pairs, nll
from mflens.infer.paired import N_DRAWS, Ladder
from mflens.infer.replicas import FlowReplicas
from mflens.infer.tasks import Bench, TaskData, TaskSettings
from mflens.seeding import new_generator
from mflens.tasks.allocation import level_costs
from mflens.tasks.simulators.toys import SimulatedToy, Toy

N_TIMED = 2000  # sims that a tier is timed with
MEASURED = ("variance_tier", "variance_raw", "variance_translated", "beta")
LEVEL_COLUMNS = [
    "level", "tier", "cost_tier", "cost_level", "seconds_tier",
    *(name + end for name in MEASURED for end in ("", "_error")),
]  # fmt: skip


def split_pilot(data: TaskData, n_pairs: int) -> tuple[TaskData, list[Pairs]]:
    """Return what a density is fitted to, and all other pairs, which measure it."""
    first = torch.arange(n_pairs)
    rest = [torch.arange(n_pairs, len(level)) for level in data.pairs]

    def choose(index: Sequence[Tensor]) -> list[Pairs]:
        return [
            Pairs(level.tier, *(a[:, i] for a in (level.low, level.high, level.y)))
            for level, i in zip(data.pairs, index, strict=True)
        ]

    fitted = TaskData(data.estimator, data.ladder, data.bulk, choose([first] * len(data.pairs)))
    return fitted, choose(rest)


def measure_variances(
    data: TaskData, measured: Sequence[Pairs], settings: TaskSettings
) -> dict[str, np.ndarray]:
    """Measure how much the loss of every level varies, by the density that `paired` learns.

    Parameters
    ----------
    data
        What the density is fitted to.
    measured
        Other pairs of every level, cheapest first.
    settings
        How methods learn.

    Returns
    -------
    dict
        Arrays of shape (repetition, level): `variance_tier`, Var[f^l] of the tier by itself;
        `variance_raw`, Var[f^0] and Var[f^l - f^{l-1}]; `variance_translated`, the same of the
        terms of `paired`, whose lower members are translated to the tier above and weighted by
        `beta`, and whose lower levels by the product of the betas above.
    """
    bench = Bench(data, settings)
    flows = bench.corrected
    pairs = [bench.repeat_pairs(level) for level in bench.pairs]
    ladder = Ladder(bench.low, pairs, latent=settings.latent)
    scale = bench.scaler.transform
    levels = [bench.repeat_pairs(Pairs(p.tier, scale(p.low), scale(p.high), p.y)) for p in measured]
    with torch.no_grad():
        raw = _raw_variances(flows, levels)
        translated = _translated_variances(flows, ladder, levels, new_generator(settings.seed + 10))
    # folds are averaged, repetitions kept
    return {
        name: torch.stack(values, -1).reshape(-1, settings.n_folds, len(values)).mean(1).numpy()
        for name, values in (raw | translated).items()
    }


def _raw_variances(flows: FlowReplicas, levels: Sequence[Pairs]) -> dict[str, list[Tensor]]:
    losses = [(nll(flows, p.low, p.y), nll(flows, p.high, p.y)) for p in levels]
    bottom = losses[0][0].var(-1)
    return {
        "variance_tier": [bottom, *(high.var(-1) for _, high in losses)],
        "variance_raw": [bottom, *((high - low).var(-1) for low, high in losses)],
    }


def _translated_variances(
    flows: FlowReplicas, ladder: Ladder, levels: Sequence[Pairs], generator: torch.Generator
) -> dict[str, list[Tensor]]:
    variances, betas = [], []
    for i, level in enumerate(levels):
        encoded = ladder.encode_pairs(level)
        drawn = []
        for _ in range(N_DRAWS):
            low = ladder.steps[i].draw(encoded.low, level.y, generator)
            pairs = ladder.carry(i, low, encoded, generator)
            drawn.append([nll(flows, x, level.y) for x in (pairs.low, pairs.high)])
        # the training draws the noise anew in every epoch, and so sees its mean
        lower, upper = (torch.stack(f).mean(0) for f in zip(*drawn, strict=True))
        if not i:
            variances.append(lower.var(-1))
        betas.append(regression_coefficient(upper, lower))
        variances.append((upper - betas[-1][:, None] * lower).var(-1))
    return {
        "variance_translated": weigh_variances(variances, betas),
        "beta": [torch.ones_like(betas[0]), *betas],
    }


def regression_coefficient(upper: Tensor, lower: Tensor) -> Tensor:
    """Return Cov(upper, lower) / Var(lower), cut to 0 to 1, over the last axis."""
    upper, lower = (f - f.mean(-1, keepdim=True) for f in (upper, lower))
    return ((upper * lower).sum(-1) / (lower.square().sum(-1) + 1e-12)).clamp(0, 1)


def weigh_variances(variances: Sequence[Tensor], betas: Sequence[Tensor]) -> list[Tensor]:
    """Multiply the variance of every level by the squares of all coefficients above it.

    Parameters
    ----------
    variances
        Of L + 1 levels, cheapest first.
    betas
        Of the L levels of pairs.
    """
    weighted, factor = [variances[-1]], torch.ones_like(variances[-1])
    for variance, beta in zip(variances[-2::-1], betas[::-1], strict=True):
        factor = factor * beta**2
        weighted.append(variance * factor)
    return weighted[::-1]


def time_tiers(toy: Toy, rng: np.random.Generator) -> list[float]:
    """Return the seconds that one sim of every tier takes; nan where spectra are only read."""
    if not isinstance(toy, SimulatedToy):
        return [float("nan")] * len(toy.ladder)
    theta = toy.prior.from_unit(rng.random((N_TIMED, len(toy.parameters))))
    seconds = []
    for tier in toy.ladder:
        started = time.perf_counter()
        toy.simulate(tier, theta, rng)
        seconds.append((time.perf_counter() - started) / N_TIMED)
    return seconds


def tabulate_levels(
    toy: Toy, seconds: Sequence[float], measured: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """Return one row of `LEVEL_COLUMNS` a level; errors are standard errors over repetitions."""
    table = pd.DataFrame(
        {
            "level": range(len(toy.ladder)),
            "tier": toy.ladder,
            "cost_tier": toy.costs,
            "cost_level": level_costs(toy.costs),
            "seconds_tier": seconds,
        }
    )
    for name, values in measured.items():
        table[name] = values.mean(0)
        table[f"{name}_error"] = values.std(0, ddof=1) / len(values) ** 0.5
    return table[LEVEL_COLUMNS]
