"""The methods that every comparison holds side by side, by name.

Each takes the same data and returns a posterior and the training history; what differs is the
loss and what is called the coarse level.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from mflens.errors import ConfigError
from mflens.infer.estimates import FoldedFlows, calibrate
from mflens.infer.folds import split_folds
from mflens.infer.linear import fit_linear, fit_linear_high
from mflens.infer.losses import Adjustment, MlmcObjective, Pairs, PlainObjective, mean_nll
from mflens.infer.paired import Fidelities, fit_paired
from mflens.infer.posterior import CompressorFlow, Posterior, StandardNormal
from mflens.infer.replicas import FlowReplicas
from mflens.infer.training import Objective, Training, fit
from mflens.infer.translation import freshen
from mflens.seeding import new_generator, seeded

History = list[dict[str, Any]]


@dataclass(frozen=True)
class Data:
    """What a method may learn from, as maps or as spectra.

    Parameters
    ----------
    ladder
        Names of the tiers, cheapest first.
    x, y
        Bulk sims of the cheapest tier: observables and normalised parameters.
    x_val, y_val
        Validation sims of the cheapest tier, on which the compressor was not trained.
    pairs
        Pairs of neighbouring tiers, cheapest first; the last holds n_high of them.
    n_together
        How many neighbouring pairs of the last are of one cosmology (`count_together`).
    """

    ladder: Sequence[str]
    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor
    pairs: Sequence[Pairs]
    n_together: int = 1


@dataclass(frozen=True)
class Settings:
    """How a method learns.

    Parameters
    ----------
    training
        Settings of the training loop.
    correction
        The same for the last step of `paired`.
    n_folds
        Members of an ensemble, each of which leaves out one share of the pairs for validation.
    device
        Where networks are trained.
    seed
        Of everything random here.
    """

    training: Training
    correction: Training
    n_folds: int
    device: torch.device
    seed: int


Fit = Callable[[Data, CompressorFlow, Settings], tuple[list[torch.nn.Module], History]]


@dataclass(frozen=True)
class Method:
    """A method: how it is fitted, what it looks at and what its cost includes.

    Parameters
    ----------
    fit
        Takes data, the pretrained network and settings; returns members and history.
    observable
        `maps` or `spectra`.
    learns_from
        Which sims it uses, by itself or through the pretrained network: any of `bulk`,
        `validation`, `pairs` (both members) and `high` (the highest tier's alone).
    pretrained
        Whether it starts from the pretrained network.
    """

    fit: Fit
    observable: str
    learns_from: tuple[str, ...]
    pretrained: bool


def fit_method(
    name: str, data: Data, start: CompressorFlow, settings: Settings
) -> tuple[Posterior, History]:
    """Fit the method of this name.

    Raises
    ------
    ConfigError
        If there is no such method.
    """
    if name not in METHODS:
        raise ConfigError(f"There is no method '{name}'; infer.methods may hold {list(METHODS)}.")
    members, history = METHODS[name].fit(data, start, settings)
    return Posterior(members, METHODS[name].observable), history


def pretrain(
    model: CompressorFlow,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    *,
    tier: str,
    training: Training,
    device: torch.device,
    seed: int,
) -> History:
    """Calibrate and train a fresh network on maps and parameters of one tier, in place."""
    model.compressor.calibrate(*train)
    model.to(device)
    x, y, x_val, y_val = _float(*train, *validation)
    batch_size = training.batch_size
    return fit(
        model,
        PlainObjective(model, x, y, tier=tier, batch_size=batch_size),
        lambda: mean_nll(model, x_val, y_val, batch_size),
        training,
        generator=new_generator(seed),
        name=f"pretrain on {tier}",
    )


def _fit_prior(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    return [StandardNormal(n_parameters=start.arguments["flow"]["n_parameters"])], []


def _fit_low_only(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    return [start], []


def _fit_linear_high(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    top = data.pairs[-1]
    return [fit_linear_high(top.high, top.y)], []


def _fit_linear(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    top = data.pairs[-1]
    return [fit_linear(data.x, data.y, top.high, top.y)], []


def _fit_high_only(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    def fresh(train: Tensor, fold: int) -> CompressorFlow:
        with seeded(settings.seed + fold):
            model = CompressorFlow(start.compressor.pixel, **start.arguments)
        top = data.pairs[-1].select(train)
        model.compressor.calibrate(top.high, top.y)
        return model

    return _fit_folds(data, fresh, _plain, settings, "high_only")


def _fit_transfer(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    return _fit_folds(data, lambda *_: copy.deepcopy(start), _plain, settings, "transfer")


def _fit_mlmc(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    return _fit_folds(data, lambda *_: copy.deepcopy(start), _multilevel, settings, "mlmc")


def _plain(model: CompressorFlow, data: Data, train: Tensor, settings: Settings) -> PlainObjective:
    """Return the loss of the high-fidelity sims alone."""
    top = data.pairs[-1].select(train)
    x, y = _float(top.high, top.y)
    return PlainObjective(model, x, y, tier=top.tier, batch_size=settings.training.batch_size)


def _multilevel(
    model: CompressorFlow, data: Data, train: Tensor, settings: Settings
) -> MlmcObjective:
    """Return the published multilevel loss; lower levels use all their pairs."""
    x, y = _float(data.x, data.y)
    pairs = [
        Pairs(level.tier, *_float(level.low, level.high, level.y))
        for level in [*data.pairs[:-1], data.pairs[-1].select(train)]
    ]
    return MlmcObjective(
        model,
        x,
        y,
        pairs,
        tier=data.ladder[0],
        batch_size=settings.training.batch_size,
        adjustment=Adjustment(),
    )


def _fit_folds(
    data: Data,
    initial: Callable[[Tensor, int], CompressorFlow],
    objective: Callable[[CompressorFlow, Data, Tensor, Settings], Objective],
    settings: Settings,
    name: str,
) -> tuple[list, History]:
    """Train one network a fold of the top pairs, stopped by the fold's high-fidelity loss."""
    top, batch_size = data.pairs[-1], settings.training.batch_size
    members: list[torch.nn.Module] = []
    history: History = []
    for fold, (train, held_out) in enumerate(zip(*_top_folds(data, settings), strict=True)):
        model = initial(train, fold).to(settings.device)
        x_val, y_val = _float(top.high[held_out], top.y[held_out])
        rows = fit(
            model,
            objective(model, data, train, settings),
            partial(mean_nll, model, x_val, y_val, batch_size),
            settings.training,
            generator=new_generator(settings.seed + fold),
            name=f"{name} {fold + 1}/{settings.n_folds}",
        )
        members.append(model)
        history.extend({"member": fold, **row} for row in rows)
    return members, history


def _top_folds(data: Data, settings: Settings) -> tuple[Tensor, Tensor]:
    """Return training and held-out top pairs of every fold, each (fold, n)."""
    top = data.pairs[-1]
    return split_folds(
        len(top),
        tier=top.tier,
        n_folds=settings.n_folds,
        n_repetitions=1,
        generator=new_generator(settings.seed),
        n_together=data.n_together,
    )


def _fit_paired(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    """Fit flows of the frozen compressor's summaries, and calibrate their mixture."""
    start = copy.deepcopy(start).to(settings.device)
    sims = _summarise(data, start, settings)
    n_summaries = start.arguments["compressor"]["n_summaries"]
    flow = dict(start.arguments["flow"])
    arguments = {
        "n_replicas": settings.n_folds,
        "n_target": flow.pop("n_parameters"),
        "n_context": n_summaries,
        "flow": flow,
        "estimator": "NPE",
    }
    flows, history = fit_paired(
        FlowReplicas.from_flow(start.flow, arguments).to(settings.device),
        sims,
        settings.training,
        settings.correction,
        latent=False,
        n_folds=settings.n_folds,
        seed=settings.seed,
        name="paired",
    )
    mixture = FoldedFlows(flows.cpu(), torch.ones(1))
    held_out = sims.held_out.y.cpu(), sims.held_out.high.cpu()
    spread = calibrate(mixture, *held_out, generator=new_generator(settings.seed)).spread
    members: list[torch.nn.Module] = []
    for fold in range(settings.n_folds):
        member = copy.deepcopy(start).cpu()
        flows.to_flow(member.flow, fold, float(spread))
        members.append(member)
    return members, _number_steps(history)


def _number_steps(history: History) -> History:
    """Call the two steps of `paired` members, one after the other, for the training curves.

    The flows train at once, and a row is the mean of all.
    """
    step = list(accumulate(int(row["epoch"] == 0) for row in history))
    return [
        {**row, "member": number - 1, "epoch": epoch}
        for epoch, (row, number) in enumerate(zip(history, step, strict=True))
    ]


def _summarise(data: Data, start: CompressorFlow, settings: Settings) -> Fidelities:
    """Return the summaries of all sims for every fold, those of training sims freshened."""

    def summarise(x: Tensor) -> Tensor:
        size = settings.training.batch_size
        return torch.cat([start.summarise(a.to(settings.device), size) for a in x.split(size)])

    def repeat(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(t.expand(settings.n_folds, *t.shape) for t in tensors)

    def repeat_pairs(level: Pairs) -> Pairs:
        y = level.y.float().to(settings.device)
        return Pairs(level.tier, *repeat(summarise(level.low), summarise(level.high), y))

    y, y_val = (a.float().to(settings.device) for a in (data.y, data.y_val))
    t, t_val = summarise(data.x), summarise(data.x_val)
    *lower, top = (repeat_pairs(level) for level in data.pairs)
    train, held_out = _top_folds(data, settings)
    return Fidelities(
        tier=data.ladder[0],
        bulk=repeat(freshen(t, y, t_val, y_val), y),  # type: ignore[arg-type]
        held_out_bulk=repeat(t_val, y_val),  # type: ignore[arg-type]
        pairs=[*lower, top.select(train)],
        held_out=top.select(held_out),
    )


def _float(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.float() for t in tensors)


METHODS = {
    "prior": Method(_fit_prior, "maps", (), False),
    "low_only": Method(_fit_low_only, "maps", ("bulk", "validation"), True),
    "linear_high": Method(_fit_linear_high, "spectra", ("high",), False),
    "linear": Method(_fit_linear, "spectra", ("bulk", "high"), False),
    "high_only": Method(_fit_high_only, "maps", ("high",), False),
    "transfer": Method(_fit_transfer, "maps", ("bulk", "validation", "high"), True),
    "mlmc": Method(_fit_mlmc, "maps", ("bulk", "validation", "pairs", "high"), True),
    "paired": Method(_fit_paired, "maps", ("bulk", "validation", "pairs", "high"), True),
}
