"""All methods on a published task, all repetitions and folds at once.

A repetition is a draw of data and initialisation; it is the first axis of all tensors here. A
replica is one fold of one repetition.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from mflens.errors import ConfigError, TrainingError
from mflens.infer.estimates import (
    Density,
    Estimate,
    FoldedFlows,
    PriorDensity,
    Stack,
    calibrate,
    stack_weights,
)
from mflens.infer.folds import split_folds
from mflens.infer.gaussian import fit_linear
from mflens.infer.losses import Adjustment, MlmcObjective, Pairs, PlainObjective, nll
from mflens.infer.paired import Fidelities, fit_paired
from mflens.infer.replicas import FlowReplicas, take
from mflens.infer.scaler import Scaler
from mflens.infer.training import Training, fit, fit_without_validation
from mflens.seeding import new_generator, seeded

History = list[dict[str, Any]]
Sims = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TaskData:
    """What the methods of a run learn from.

    Parameters
    ----------
    estimator
        `NPE` or `NLE`.
    ladder
        Names of the tiers, cheapest first; a single one for a run without pairs.
    bulk
        Observables, shape (repetition, n, feature), and normalised parameters, (repetition, n,
        parameter), of the cheapest tier.
    pairs
        Pairs of neighbouring tiers, cheapest first.
    """

    estimator: str
    ladder: Sequence[str]
    bulk: Sims
    pairs: Sequence[Pairs]


@dataclass(frozen=True)
class TaskSettings:
    """How methods learn, named as in the config's `tasks`.

    Parameters
    ----------
    flow
        `transforms`, `hidden_features`, `bins`.
    training
        Settings of the training loop.
    correction
        Over those of `training`, for the last step of `paired`.
    mlmc
        Over those of `training`, for `mlmc`: `steps`, `epsilon`, `rescale`, `project`.
    n_folds
        Members of an ensemble, each of which leaves out one share of the sims for validation.
    n_summaries
        Principal components of the observables that are looked at; 0 for all features.
    latent
        Whether `paired` translates in the base space of the flows, for NLE only.
    seed
        Of everything random here.
    """

    flow: Mapping[str, int]
    training: Mapping[str, Any]
    correction: Mapping[str, Any]
    mlmc: Mapping[str, Any]
    n_folds: int
    n_summaries: int
    latent: bool
    seed: int


class Bench:
    """Standardised data of a run with their folds, and what several methods start from.

    Parameters
    ----------
    data
        Of all repetitions.
    settings
        How methods learn.
    """

    def __init__(self, data: TaskData, settings: TaskSettings) -> None:
        self.settings, self.estimator = settings, data.estimator
        self.ladder, self.n_repetitions = data.ladder, len(data.bulk[1])
        self.training = Training(**settings.training)
        self.scaler = Scaler.fit(data.bulk[0], settings.n_summaries)
        scale = self.scaler.transform
        self.bulk = scale(data.bulk[0]), data.bulk[1]
        self.pairs = [Pairs(p.tier, scale(p.low), scale(p.high), p.y) for p in data.pairs]
        self.history: History = []

    @cached_property
    def bulk_folds(self) -> tuple[Sims, Sims]:
        """Training and held-out bulk sims of every replica."""
        train, held_out = self.folds(self.bulk[1], self.ladder[0], stream=1)
        repeated = [self.repeat(a) for a in self.bulk]
        parts = [tuple(take(a, index) for a in repeated) for index in (train, held_out)]
        return parts[0], parts[1]  # type: ignore[return-value]

    @cached_property
    def high(self) -> FlowReplicas:
        """Flows trained on the high fidelity alone."""
        return self.train_on_top(self.new_flows(stream=5), "high_only")

    @cached_property
    def transferred(self) -> FlowReplicas:
        """Flows of the cheapest tier, trained further on the high fidelity."""
        return self.train_on_top(self.low.copy(), "transfer")

    @cached_property
    def corrected(self) -> FlowReplicas:
        """Flows of `fit_paired`: trained on the translated bulk, corrected by the pairs."""
        settings = self.settings
        train, held_out = self.top_folds
        lower = [self.repeat_pairs(level) for level in self.pairs[:-1]]
        flows, rows = fit_paired(
            self.low,
            Fidelities(self.ladder[0], *self.bulk_folds, [*lower, train], held_out),
            self.training,
            replace(self.training, **settings.correction),
            latent=settings.latent,
            n_folds=settings.n_folds,
            seed=settings.seed + 8,
            name="paired",
        )
        self.record("paired", rows)
        return flows

    def train_on_top(self, flows: FlowReplicas, method: str) -> FlowReplicas:
        """Train flows on the upper members of the top pairs."""
        train, held_out = self.top_folds
        sims = (train.high, train.y), (held_out.high, held_out.y)
        return self.train(flows, *sims, method, train.tier)

    @cached_property
    def top_index(self) -> tuple[Tensor, Tensor]:
        """Positions of training and held-out pairs of the top level, of every replica."""
        return self.folds(self.pairs[-1].y, self.pairs[-1].tier, stream=2)

    @property
    def top_folds(self) -> tuple[Pairs, Pairs]:
        """Training and held-out pairs of the top level, of every replica."""
        repeated = self.repeat_pairs(self.pairs[-1])
        train, held_out = self.top_index
        return repeated.select(train), repeated.select(held_out)

    @cached_property
    def low(self) -> FlowReplicas:
        """Flows trained on the bulk of the cheapest tier."""
        return self.train(self.new_flows(stream=3), *self.bulk_folds, "low_only", self.ladder[0])

    def folds(self, y: Tensor, tier: str, stream: int) -> tuple[Tensor, Tensor]:
        """Return training and held-out sims of every replica, each (replica, n)."""
        return split_folds(
            y.shape[1],
            tier=tier,
            n_folds=self.settings.n_folds,
            n_repetitions=self.n_repetitions,
            generator=new_generator(self.settings.seed + stream),
        )

    def repeat(self, a: Tensor) -> Tensor:
        """Give every fold of a repetition its data."""
        return a.repeat_interleave(self.settings.n_folds, dim=0)

    def repeat_pairs(self, pairs: Pairs) -> Pairs:
        """Give every fold of a repetition its pairs."""
        return Pairs(pairs.tier, *(self.repeat(a) for a in (pairs.low, pairs.high, pairs.y)))

    def new_flows(self, stream: int, n_folds: int | None = None) -> FlowReplicas:
        """Return untrained flows for all replicas."""
        x, y = self.bulk
        sizes = (y.shape[-1], x.shape[-1])
        n_target, n_context = sizes if self.estimator == "NPE" else sizes[::-1]
        with seeded(self.settings.seed + stream):
            return FlowReplicas(
                n_replicas=self.n_repetitions * (n_folds or self.settings.n_folds),
                n_target=n_target,
                n_context=n_context,
                flow=dict(self.settings.flow),
                estimator=self.estimator,
            )

    def train(
        self, flows: FlowReplicas, train: Sims, held_out: Sims, method: str, tier: str
    ) -> FlowReplicas:
        """Train flows on sims of one tier, stopped by held-out ones."""
        objective = PlainObjective(flows, *train, tier=tier, batch_size=self.training.batch_size)
        rows = fit(
            flows,
            objective,
            lambda: nll(flows, *held_out).mean(-1),
            self.training,
            generator=new_generator(self.settings.seed + 4),
            name=method,
        )
        self.record(method, rows)
        return flows

    def record(self, method: str, rows: History) -> None:
        """Keep the training history of a method, its losses averaged over replicas."""
        self.history.extend({"method": method, **row} for row in rows)

    def estimate(self, density: Density) -> Estimate:
        """Return a density in the units of the data."""
        return Estimate(self.estimator, self.scaler, density)

    def folded(self, flows: FlowReplicas) -> Estimate:
        """Return the mixture over the folds of every repetition."""
        return self.estimate(FoldedFlows(flows, torch.ones(self.n_repetitions)))


def fit_methods(
    data: TaskData, methods: Sequence[str], settings: TaskSettings
) -> tuple[dict[str, Estimate], History]:
    """Fit methods to a run.

    Parameters
    ----------
    data
        Of all repetitions.
    methods
        Their names.
    settings
        How they learn.

    Returns
    -------
    estimates
        By method.
    history
        Rows of method, epoch, and losses averaged over replicas.

    Raises
    ------
    ConfigError
        If there is no such method, or a level has too few sims.
    TrainingError
        If a loss is not finite.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise ConfigError(f"There is no method '{unknown[0]}'; `methods` may hold {list(METHODS)}.")
    check_finite(data)
    bench = Bench(data, settings)
    return {name: METHODS[name](bench) for name in methods}, bench.history


def check_finite(data: TaskData) -> None:
    """Refuse sims that are not finite, before they spoil the scaler.

    Raises
    ------
    TrainingError
        With the level.
    """
    tiers = [(data.ladder[0], data.bulk[0])]
    for low, level in zip(data.ladder, data.pairs, strict=False):
        tiers += [(low, level.low), (level.tier, level.high)]
    for tier, x in tiers:
        n_bad = int((~torch.isfinite(x)).any(-1).sum())
        if n_bad:
            raise TrainingError(
                f"the loss of level {tier} is nan at step 0, before training: {n_bad} of its sims "
                "are not finite; mend or remove them."
            )


def _fit_prior(bench: Bench) -> Estimate:
    if bench.estimator == "NPE":
        zero = torch.zeros(bench.n_repetitions, 1, bench.bulk[1].shape[-1])
        return bench.estimate(PriorDensity(zero, torch.ones_like(zero)))
    # the likelihood that knows no parameters: its posterior is the prior
    x = bench.pairs[-1].high
    return bench.estimate(PriorDensity(x.mean(1, keepdim=True), x.std(1, keepdim=True)))


def _fit_linear(bench: Bench, *, kind: str) -> Estimate:
    top = bench.pairs[-1]
    return bench.estimate(fit_linear(bench.estimator, bench.bulk, (top.high, top.y), kind))


def _fit_low_only(bench: Bench) -> Estimate:
    return bench.folded(bench.low)


def _fit_high_only(bench: Bench) -> Estimate:
    return bench.folded(bench.high) if bench.pairs else _fit_low_only(bench)


def _fit_transfer(bench: Bench) -> Estimate:
    return bench.folded(bench.transferred)


def _fit_mlmc(bench: Bench) -> Estimate:
    """Fit as published: one network, Algorithm 1, a fixed number of steps, no validation."""
    options = dict(bench.settings.mlmc)
    steps = options.pop("steps")
    adjustment = Adjustment(*(options.pop(key) for key in ("rescale", "project", "epsilon")))
    training = replace(bench.training, **options)
    n_batches = -(-bench.bulk[1].shape[1] // training.batch_size)
    flows = bench.new_flows(stream=6, n_folds=1)
    objective = MlmcObjective(
        flows,
        *bench.bulk,
        bench.pairs,
        tier=bench.ladder[0],
        batch_size=training.batch_size,
        adjustment=adjustment,
    )
    generator = new_generator(bench.settings.seed + 7)
    rows = fit_without_validation(
        flows,
        objective,
        replace(training, max_epochs=-(-steps // n_batches)),
        generator=generator,
        name="mlmc",
    )
    bench.record("mlmc", rows)
    return bench.folded(flows)


def _fit_paired(bench: Bench) -> Estimate:
    """Fit as `fit_paired`, calibrate, and stack with what is simpler.

    Where pairs teach nothing, held-out sims give the weight to the other members of the stack:
    more information must not hurt.
    """
    flows, (train, held_out) = bench.corrected, bench.top_folds
    sims = (held_out.y, held_out.high) if bench.estimator == "NPE" else (held_out.high, held_out.y)
    generator = new_generator(bench.settings.seed + 9)
    ones = torch.ones(bench.n_repetitions)
    folded = [FoldedFlows(member, ones) for member in (flows, bench.transferred, bench.high)]
    if bench.estimator == "NPE":
        folded = [calibrate(member, *sims, generator=generator) for member in folded]
    left_out = [member.log_prob_left_out(*sims) for member in folded]
    members: list[Density] = [*folded]
    for kind in ("affine", "offset"):
        parts = bench.bulk_folds[0], (train.high, train.y), kind
        log_q = fit_linear(bench.estimator, *parts).log_prob(*sims)
        left_out.append(log_q.reshape(bench.n_repetitions, -1))
        top = bench.pairs[-1]
        members.append(fit_linear(bench.estimator, bench.bulk, (top.high, top.y), kind))
    weights = stack_weights(torch.stack(left_out, dim=1))
    logging.info("paired: weights %s", " ".join(f"{w:.2f}" for w in weights.mean(0)))
    return bench.estimate(Stack(members, weights))


METHODS: dict[str, Callable[[Bench], Estimate]] = {
    "prior": _fit_prior,
    "linear_high": partial(_fit_linear, kind="high"),
    "linear": partial(_fit_linear, kind="affine"),
    "linear_offset": partial(_fit_linear, kind="offset"),
    "low_only": _fit_low_only,
    "middle_only": _fit_low_only,
    "high_only": _fit_high_only,
    "transfer": _fit_transfer,
    "mlmc": _fit_mlmc,
    "paired": _fit_paired,
}
