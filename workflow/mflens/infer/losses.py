"""Objectives of neural posterior estimation: plain and multilevel, with gradient adjustment.

f^l = -log q(y | x^l) is the loss of one sim at level l. The multilevel objective is

    mean_bulk f^0 + sum_l mean_pairs,l ( f^l - f^{l-1} )

(arXiv:2506.06087, section 3), whose coarse level may be any simulator as long as it is the same
in neighbouring terms.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Pairs:
    """Sims of two neighbouring tiers with the same parameters, phases and noise.

    Parameters
    ----------
    tier
        Name of the upper tier.
    low, high
        Maps, spectra or summaries of both tiers, first axis over sims in the same order.
    y
        Normalised parameters, shape (n, parameter).
    """

    tier: str
    low: Tensor
    high: Tensor
    y: Tensor

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.y)

    def select(self, index: Tensor) -> "Pairs":
        """Return the pairs at these positions."""
        return Pairs(self.tier, self.low[index], self.high[index], self.y[index])


def nll(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return f = -log q(y | x), shape (n,)."""
    return -model(x).log_prob(y)


def mean_nll(model: nn.Module, x: Tensor, y: Tensor, batch_size: int) -> float:
    """Return the mean of f over all sims, without gradients."""
    with torch.no_grad():
        parts = zip(x.split(batch_size), y.split(batch_size), strict=True)
        return float(sum(nll(model, a, b).double().sum() for a, b in parts) / len(y))


def shuffled(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of a random order of n sims, all of nearly the same size."""
    yield from torch.randperm(n, generator=generator).chunk(-(-n // batch_size))


def cycle(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield shuffled batches for ever."""
    while True:
        yield from shuffled(n, batch_size, generator)


class PlainObjective:
    """The mean of f over sims of one tier.

    Parameters
    ----------
    model
        Maps x to a distribution of y.
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
        for index in shuffled(len(self.y), self.batch_size, generator):
            yield [index]

    def backward(self, batch: list[Tensor]) -> dict[str, float]:
        """Write the gradient of the mean of f into the parameters."""
        loss = nll(self.model, self.x[batch[0]], self.y[batch[0]]).mean()
        loss.backward()
        return {self.tier: float(loss.detach())}


class MlmcObjective:
    """The multilevel objective with the gradient adjustment of arXiv:2506.06087, Algorithm 1.

    Parameters
    ----------
    model
        Maps x to a distribution of y.
    x, y
        Bulk sims of the lowest tier.
    pairs
        Pairs of neighbouring tiers, lowest first.
    tier
        Name of the lowest tier, for error messages.
    batch_size
        Sims in a batch of the bulk, and at most in one of every level's pairs.
    adjust
        Whether to adjust gradients; without, they are those of the unbiased objective.
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
        adjust: bool = True,
    ) -> None:
        self.model, self.x, self.y, self.pairs = model, x, y, pairs
        self.tier, self.batch_size, self.adjust = tier, batch_size, adjust
        self.parameters = [p for p in model.parameters() if p.requires_grad]

    def batches(self, generator: torch.Generator) -> Iterator[list[Tensor]]:
        """Yield the sims of every batch: bulk, then those of every level's pairs."""
        bulk = shuffled(len(self.y), self.batch_size, generator)
        levels = [cycle(len(pairs), self.batch_size, generator) for pairs in self.pairs]
        for index in bulk:
            yield [index, *(next(level) for level in levels)]

    def backward(self, batch: list[Tensor]) -> dict[str, float]:
        """Write the (adjusted) gradient into the parameters."""
        value, bulk = self.gradient(self.x[batch[0]], self.y[batch[0]])
        losses = {self.tier: value}
        halves = []
        for pairs, index in zip(self.pairs, batch[1:], strict=True):
            upper, plus = self.gradient(pairs.high[index], pairs.y[index])
            lower, minus = self.gradient(pairs.low[index], pairs.y[index])
            losses[pairs.tier] = upper - lower
            halves.append((plus, -minus))
        if self.adjust:
            total = adjust_gradients(bulk, halves)
        else:
            total = bulk + sum(plus + minus for plus, minus in halves)
        unflatten_gradient(total, self.parameters)
        return losses

    def gradient(self, x: Tensor, y: Tensor) -> tuple[float, Tensor]:
        """Return the mean of f and its gradient as one vector."""
        loss = nll(self.model, x, y).mean()
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        flat = [
            torch.zeros_like(p).flatten() if g is None else g.flatten()
            for p, g in zip(self.parameters, gradients, strict=True)
        ]
        return float(loss.detach()), torch.cat(flat)


def adjust_gradients(bulk: Tensor, halves: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Combine the gradients of all levels as in Algorithm 1 of arXiv:2506.06087.

    Parameters
    ----------
    bulk
        Gradient g0 of the mean of f^0 over the bulk, shape (weight,).
    halves
        For every level the gradients of mean f^l and of -mean f^{l-1} over its pairs.

    Returns
    -------
    Tensor
        The direction to descend along, before clipping, shape (weight,).
    """
    correction = torch.zeros_like(bulk)
    for plus, minus in halves:
        correction = correction + plus + minus * plus.norm() / (minus.norm() + 1e-8)
    overlap = bulk @ correction
    if overlap >= 0:
        return bulk + correction
    # each is projected off the other's original
    projected_correction = correction - overlap / (bulk @ bulk) * bulk
    projected_bulk = bulk - overlap / (correction @ correction) * correction
    return projected_bulk + projected_correction


def unflatten_gradient(flat: Tensor, parameters: Sequence[nn.Parameter]) -> None:
    """Write one long gradient into `.grad` of the parameters."""
    parts = flat.split([p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.reshape(parameter.shape).clone()


class TranslatedObjective:
    """The multilevel objective with the translated bulk as coarse level, its correction damped.

        mean_bulk f(T(t_0)) + damping * sum_l mean_pairs,l [ f(t_l) - f(T_l(t_{l-1})) ]

    where everything is carried on to the top of the ladder before f sees it.

    Parameters
    ----------
    flow
        Maps summaries to a distribution of y.
    draw_bulk
        Returns a fresh draw of translated bulk summaries, shape (n, summary).
    y
        Parameters of the bulk.
    draw_pairs
        For every level a function that returns fresh upper and translated lower summaries at the
        top, and their parameters.
    damping
        Weight of the correction, 0 to 1.
    batch_size
        Sims in a batch of the bulk.
    """

    def __init__(
        self,
        flow: nn.Module,
        draw_bulk: Callable[[torch.Generator], Tensor],
        y: Tensor,
        draw_pairs: dict[str, Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]]],
        *,
        tier: str,
        damping: float,
        batch_size: int,
    ) -> None:
        self.flow, self.draw_bulk, self.y, self.draw_pairs = flow, draw_bulk, y, draw_pairs
        self.tier, self.damping, self.batch_size = tier, damping, batch_size

    def batches(self, generator: torch.Generator) -> Iterator[list[Tensor]]:
        """Yield the summaries and parameters of every batch, translated anew in every epoch."""
        bulk = self.draw_bulk(generator)
        for index in shuffled(len(self.y), self.batch_size, generator):
            batch = [bulk[index], self.y[index]]
            if self.damping > 0:
                for draw in self.draw_pairs.values():
                    batch.extend(draw(generator))
            yield batch

    def backward(self, batch: list[Tensor]) -> dict[str, float]:
        """Write the gradient into the parameters."""
        loss = nll(self.flow, batch[0], batch[1]).mean()
        losses = {self.tier: float(loss.detach())}
        for i, tier in enumerate(self.draw_pairs if self.damping > 0 else ()):
            high, low, y = batch[3 * i + 2 : 3 * i + 5]
            term = (nll(self.flow, high, y) - nll(self.flow, low, y)).mean()
            losses[tier] = self.damping * float(term.detach())
            loss = loss + self.damping * term
        loss.backward()
        return losses
