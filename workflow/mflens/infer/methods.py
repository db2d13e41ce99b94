"""The methods that every comparison holds side by side, by name.

Each takes the same data and returns a posterior and the training history; what differs is the
loss and what is called the coarse level.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mflens.errors import ConfigError
from mflens.infer.linear import fit_linear, fit_linear_high
from mflens.infer.losses import MlmcObjective, Pairs, PlainObjective, mean_nll
from mflens.infer.paired import fit_paired_heads
from mflens.infer.posterior import CompressorFlow, LinearGaussian, Posterior, StandardNormal
from mflens.infer.training import Objective, Training, fit, new_generator, seeded

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
    """

    ladder: Sequence[str]
    x: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor
    pairs: Sequence[Pairs]


@dataclass(frozen=True)
class Settings:
    """How a method learns.

    Parameters
    ----------
    training
        Settings of the training loop.
    n_folds
        Members of an ensemble, each of which leaves out one share of the pairs for validation.
    device
        Where networks are trained.
    seed
        Of everything random here.
    """

    training: Training
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
        Which sims it uses: any of `bulk`, `pairs`, `high`.
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
    settings: Settings,
) -> History:
    """Calibrate and train a fresh network on maps and parameters of one tier, in place."""
    model.compressor.calibrate(*train)
    model.to(settings.device)
    x, y, x_val, y_val = _to(settings.device, *train, *validation)
    batch_size = settings.training.batch_size
    return fit(
        model,
        PlainObjective(model, x, y, tier=tier, batch_size=batch_size),
        lambda: mean_nll(model, x_val, y_val, batch_size),
        settings.training,
        generator=new_generator(settings.seed),
        name=f"pretrain on {tier}",
    )


def split_folds(n: int, settings: Settings) -> list[tuple[Tensor, Tensor]]:
    """Return training and held-out sims of every fold.

    Raises
    ------
    ConfigError
        If there are fewer than two sims for a fold.
    """
    if n < 2 * settings.n_folds:
        raise ConfigError(
            f"{n} high-fidelity sims are too few for {settings.n_folds} folds; raise infer.n_high "
            f"to at least {2 * settings.n_folds} or lower infer.n_folds."
        )
    order = torch.randperm(n, generator=new_generator(settings.seed))
    held_out = order.tensor_split(settings.n_folds)
    return [
        (order[~torch.isin(order, part)].sort().values, part.sort().values) for part in held_out
    ]


def _fit_prior(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    return [StandardNormal(n_parameters=start.arguments["flow"]["n_parameters"])], []


def _fit_low_only(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    return [start], []


def _fit_linear_high(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    top = data.pairs[-1]
    return [fit_linear_high(top.high.numpy(), top.y.numpy())], []


def _fit_linear(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    top = data.pairs[-1]
    member: LinearGaussian = fit_linear(
        data.x.numpy(), data.y.numpy(), top.high.numpy(), top.y.numpy()
    )
    return [member], []


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
    x, y = _to(settings.device, top.high, top.y)
    return PlainObjective(model, x, y, tier=top.tier, batch_size=settings.training.batch_size)


def _multilevel(
    model: CompressorFlow, data: Data, train: Tensor, settings: Settings
) -> MlmcObjective:
    """Return the published multilevel loss; lower levels use all their pairs."""
    x, y = _to(settings.device, data.x, data.y)
    pairs = [
        Pairs(level.tier, *_to(settings.device, level.low, level.high, level.y))
        for level in [*data.pairs[:-1], data.pairs[-1].select(train)]
    ]
    size = settings.training.batch_size
    return MlmcObjective(model, x, y, pairs, tier=data.ladder[0], batch_size=size)


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
    for fold, (train, held_out) in enumerate(split_folds(len(top), settings)):
        model = initial(train, fold).to(settings.device)
        x_val, y_val = _to(settings.device, top.high[held_out], top.y[held_out])
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


def _fit_paired(data: Data, start: CompressorFlow, settings: Settings) -> tuple[list, History]:
    start = copy.deepcopy(start).to(settings.device)
    size = settings.training.batch_size

    def summarise(x: Tensor) -> Tensor:
        return torch.cat(
            [start.summarise(part.to(settings.device), size) for part in x.split(size)]
        )

    pairs = [
        Pairs(
            level.tier, summarise(level.low), summarise(level.high), *_to(settings.device, level.y)
        )
        for level in data.pairs
    ]
    folds = split_folds(len(data.pairs[-1]), settings)
    heads, history = fit_paired_heads(
        start.flow,
        (summarise(data.x), _to(settings.device, data.y)[0]),
        (summarise(data.x_val), _to(settings.device, data.y_val)[0]),
        pairs,
        folds,
        tier=data.ladder[0],
        training=settings.training,
        seed=settings.seed,
    )
    members = []
    for head in heads:
        member = copy.deepcopy(start)
        member.flow.load_state_dict(head.state_dict())
        members.append(member)
    return members, history


def _to(device: torch.device, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.to(device=device, dtype=torch.float32) for t in tensors)


METHODS = {
    "prior": Method(_fit_prior, "maps", (), False),
    "low_only": Method(_fit_low_only, "maps", ("bulk",), True),
    "linear_high": Method(_fit_linear_high, "spectra", ("high",), False),
    "linear": Method(_fit_linear, "spectra", ("bulk", "high"), False),
    "high_only": Method(_fit_high_only, "maps", ("high",), False),
    "transfer": Method(_fit_transfer, "maps", ("bulk", "high"), True),
    "mlmc": Method(_fit_mlmc, "maps", ("bulk", "pairs", "high"), True),
    "paired": Method(_fit_paired, "maps", ("bulk", "pairs", "high"), True),
}
