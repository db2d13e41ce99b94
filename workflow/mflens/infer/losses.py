"""Objectives of neural inference: plain and multilevel, with gradient adjustment.

f^l is the loss of one sim at level l: -log q(y | x^l) for NPE, -log q(x^l | y) for NLE. The
multilevel objective is

    mean_bulk f^0 + sum_l mean_pairs,l ( f^l - f^{l-1} )

(arXiv:2506.06087, section 3), whose coarse level may be any simulator as long as it is the same
in neighbouring terms.

Data have the shapes (n, ...) or, for replicas, (replica, n, ...); losses () or (replica,).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mflens.infer.replicas import FlowReplicas, take


@dataclass(frozen=True)
class Pairs:
    """Sims of two neighbouring tiers with the same parameters, phases and noise.

    Parameters
    ----------
    tier
        Name of the upper tier.
    low, high
        Maps, spectra or summaries of both tiers, over sims in the same order.
    y
        Normalised parameters, shape (n, parameter) or (replica, n, parameter).
    """

    tier: str
    low: Tensor
    high: Tensor
    y: Tensor

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self.y.shape[-2]

    def select(self, index: Tensor) -> "Pairs":
        """Return the pairs at these positions, of shape (n,) or (replica, n)."""
        return Pairs(self.tier, *(take(a, index) for a in (self.low, self.high, self.y)))


def nll(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return f of every sim: -log q(y | x), or what replicas of flows are trained for.

    The sims are moved to where the model is: maps of a whole run may not fit on a GPU.
    """
    device = next((p.device for p in model.parameters()), x.device)
    x, y = x.to(device), y.to(device)
    if isinstance(model, FlowReplicas):
        return model.nll(x, y)
    return -model(x).log_prob(y)


def mean_nll(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> float:
    """Return the mean of f over all sims, without gradients."""
    with torch.no_grad():
        parts = zip(x.split(batch_size), y.split(batch_size), strict=True)
        return float(sum(nll(model, a, b).double().sum() for a, b in parts) / len(y))


def shuffled(y: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of a random order of sims, all of nearly the same size.

    Parameters
    ----------
    y
        Parameters, (n, parameter), or (replica, n, parameter) for an order in every replica.
    batch_size
        At most so many sims in a batch.
    generator
        Random numbers.
    """
    n = y.shape[-2]
    if y.ndim == 2:
        order = torch.randperm(n, generator=generator)
    else:
        order = torch.rand(y.shape[:-1], generator=generator).argsort(dim=-1)
    yield from order.chunk(-(-n // batch_size), dim=-1)


def cycle(y: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled batches for ever."""
    while True:
        yield from shuffled(y, batch_size, generator)


class PlainObjective:
    """The mean of f over sims of one tier.

    Parameters
    ----------
    model
        Has a loss f.
    x, y
        Training sims.
    tier
        Name of the tier, for error messages.
    batch_size
        Sims in a batch.
    """

    def __init__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, tier: str, batch_size: int
    ) -> None:
        self.model, self.x, self.y = model, x, y
        self.tier, self.batch_size = tier, batch_size

    def batches(self, generator: torch.Generator) -> Iterator[list[Tensor]]:
        """Yield the sims of every batch."""
        for index in shuffled(self.y, self.batch_size, generator):
            yield [index]

    def backward(self, batch: list[Tensor]) -> dict[str, Tensor]:
        """Write the gradient of the mean of f into the parameters."""
        loss = nll(self.model, take(self.x, batch[0]), take(self.y, batch[0])).mean(-1)
        loss.sum().backward()
        return {self.tier: loss.detach()}


@dataclass(frozen=True)
class Adjustment:
    """Which steps of Algorithm 1 of arXiv:2506.06087 change the gradients.

    Parameters
    ----------
    rescale
        Whether the gradient of -f^{l-1} gets the norm of that of f^l.
    project
        Whether bulk and correction are projected off each other when they oppose.
    epsilon
        Added to the norm that is divided by.
    """

    rescale: bool = True
    project: bool = True
    epsilon: float = 1e-8


class MlmcObjective:
    """The multilevel objective with the gradient adjustment of arXiv:2506.06087, Algorithm 1.

    Parameters
    ----------
    model
        Has a loss f.
    x, y
        Bulk sims of the lowest tier.
    pairs
        Pairs of neighbouring tiers, lowest first.
    tier
        Name of the lowest tier, for error messages.
    batch_size
        Sims in a batch of the bulk, and at most in one of every level's pairs.
    adjustment
        How gradients are adjusted; without rescaling and projection they are those of the
        unbiased objective.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        pairs: Sequence[Pairs],
        *,
        tier: str,
        batch_size: int,
        adjustment: Adjustment,
    ) -> None:
        self.model, self.x, self.y, self.pairs = model, x, y, pairs
        self.tier, self.batch_size, self.adjustment = tier, batch_size, adjustment
        self.parameters = [p for p in model.parameters() if p.requires_grad]

    def batches(self, generator: torch.Generator) -> Iterator[list[Tensor]]:
        """Yield the sims of every batch: bulk, then those of every level's pairs."""
        bulk = shuffled(self.y, self.batch_size, generator)
        levels = [cycle(pairs.y, self.batch_size, generator) for pairs in self.pairs]
        for index in bulk:
            yield [index, *(next(level) for level in levels)]

    def backward(self, batch: list[Tensor]) -> dict[str, Tensor]:
        """Write the (adjusted) gradient into the parameters."""
        value, bulk = self.gradient(take(self.x, batch[0]), take(self.y, batch[0]))
        losses = {self.tier: value}
        halves = []
        for pairs, index in zip(self.pairs, batch[1:], strict=True):
            chosen = pairs.select(index)
            upper, plus = self.gradient(chosen.high, chosen.y)
            lower, minus = self.gradient(chosen.low, chosen.y)
            losses[pairs.tier] = upper - lower
            halves.append((plus, -minus))
        unflatten_gradient(adjust_gradients(bulk, halves, self.adjustment), self.parameters)
        return losses

    def gradient(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of f and its gradient as one vector, (weight,) or (replica, weight)."""
        loss = nll(self.model, x, y).mean(-1)
        gradients = torch.autograd.grad(loss.sum(), self.parameters, allow_unused=True)
        flat = [
            (torch.zeros_like(p) if g is None else g).reshape(*loss.shape, -1)
            for p, g in zip(self.parameters, gradients, strict=True)
        ]
        return loss.detach(), torch.cat(flat, dim=-1)


def adjust_gradients(
    bulk: Tensor, halves: Sequence[tuple[Tensor, Tensor]], adjustment: Adjustment
) -> Tensor:
    """Combine the gradients of all levels as in Algorithm 1 of arXiv:2506.06087.

    Parameters
    ----------
    bulk
        Gradient g0 of the mean of f^0 over the bulk, shape (..., weight).
    halves
        For every level the gradients of mean f^l and of -mean f^{l-1} over its pairs.
    adjustment
        What is adjusted.

    Returns
    -------
    Tensor
        The direction to descend along, before clipping, shape (..., weight).
    """
    correction = torch.zeros_like(bulk)
    for plus, minus in halves:
        if adjustment.rescale:
            minus = minus * _norm(plus) / (_norm(minus) + adjustment.epsilon)
        correction = correction + plus + minus
    overlap = _dot(bulk, correction)
    if not adjustment.project:
        return bulk + correction
    # each is projected off the other's original
    off_bulk = correction - overlap / _dot(bulk, bulk) * bulk
    off_correction = bulk - overlap / _dot(correction, correction) * correction
    return torch.where(overlap < 0, off_bulk + off_correction, bulk + correction)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)


def _norm(a: Tensor) -> Tensor:
    return a.norm(dim=-1, keepdim=True)


def unflatten_gradient(flat: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    """Write one long gradient, (weight,) or (replica, weight), into `.grad` of the parameters."""
    n_replicas = len(flat) if flat.ndim == 2 else 1
    parts = flat.split([p.numel() // n_replicas for p in parameters], dim=-1)
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.reshape(parameter.shape).clone()


class ControlVariateObjective:
    """The loss of the highest tier, with the tiers below as control variates.

    With a_L = mean_pairs,L f^L and coarse members that have been carried to the top of the ladder,

        E f^L  ~  mean_pairs,L ( f^L - beta_L f^{L-1} ) + beta_L E f^{L-1} ,

    and E f^{L-1} is estimated likewise, down to the mean over the bulk. It is unbiased for any
    beta; beta = 1 everywhere is the multilevel sum, beta = 0 the loss of the top pairs alone.

    Parameters
    ----------
    model
        Has a loss f.
    draw_bulk
        Returns a fresh draw of the bulk carried to the top, shape (..., n, feature).
    y
        Parameters of the bulk, shape (..., n, parameter).
    draw_pairs
        For every level, lowest first, a function that returns both members at the top.
    beta
        Coefficients of the levels, each of shape () or (replica,); all zero for the bulk alone.
    tier
        Name of the lowest tier, for error messages.
    batch_size
        Sims in a batch of the bulk.
    """

    def __init__(
        self,
        model: nn.Module,
        draw_bulk: Callable[[torch.Generator], Tensor],
        y: Tensor,
        draw_pairs: Sequence[Callable[[torch.Generator], Pairs]],
        beta: Sequence[Tensor],
        *,
        tier: str,
        batch_size: int,
    ) -> None:
        self.model, self.draw_bulk, self.y, self.draw_pairs = model, draw_bulk, y, draw_pairs
        self.beta, self.tier, self.batch_size = beta, tier, batch_size

    def batches(self, generator: torch.Generator) -> Iterator[list[Tensor]]:
        """Yield bulk and pairs of every batch, drawn anew in every epoch."""
        bulk = self.draw_bulk(generator)
        for index in shuffled(self.y, self.batch_size, generator):
            pairs = [draw(generator) for draw in self.draw_pairs]
            self.tiers = [level.tier for level in pairs]
            flat = [a for level in pairs for a in (level.low, level.high, level.y)]
            yield [take(bulk, index), take(self.y, index), *flat]

    def backward(self, batch: list[Tensor]) -> dict[str, Tensor]:
        """Write the gradient into the parameters."""
        bulk = nll(self.model, *batch[:2]).mean(-1)
        levels = {}
        for i, tier in enumerate(self.tiers):
            low, high, y = batch[3 * i + 2 : 3 * i + 5]
            levels[tier] = nll(self.model, high, y).mean(-1), nll(self.model, low, y).mean(-1)
        terms = weigh_levels(bulk, list(levels.values()), self.beta)
        torch.stack(terms).sum().backward()
        names = [self.tier, *levels]
        return {tier: term.detach() for tier, term in zip(names, terms, strict=True)}


def weigh_levels(
    bulk: Tensor, levels: Sequence[tuple[Tensor, Tensor]], beta: Sequence[Tensor]
) -> list[Tensor]:
    """Return the terms of the control-variate estimate of E f^L, whose sum it is.

    Parameters
    ----------
    bulk
        Mean of f over the bulk.
    levels
        For every level, lowest first, mean f of the upper and of the lower members.
    beta
        Coefficient of every level.
    """
    terms = [bulk]
    for (upper, lower), coefficient in zip(levels, beta, strict=True):
        terms = [coefficient * term for term in terms]
        terms.append(upper - coefficient * lower)
    return terms
