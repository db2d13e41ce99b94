"""The `paired` method: translate the bulk by what the pairs teach, then correct with the pairs.

Three steps, each starting from the weights of the one before: the flow of the cheapest tier; the
same trained on the bulk translated to the top tier, which is as good as high-fidelity sims as far
as the translation is right; and the loss of the top tier with translated lower tiers as control
variates, unbiased for any coefficient, which are measured. With few pairs nearly all comes from
the translation, with many the correction takes out what it got wrong.

A translation acts on observables or, for NLE, in the base space of the cheapest tier's flow: a
difference in fidelity that bends a quantile function is there nearly the same for all parameters.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mflens.infer.losses import ControlVariateObjective, Pairs, nll, weigh_levels
from mflens.infer.replicas import FlowReplicas
from mflens.infer.training import Training, fit
from mflens.infer.translation import Translation, fit_translation, translate
from mflens.seeding import new_generator

N_DRAWS = 8  # of noise that a loss of pairs or a covariance averages over
N_BULK_DRAWS = 2  # the same for held-out bulk sims, of which there are many

Sims = tuple[Tensor, Tensor]
History = list[dict[str, Any]]


@dataclass(frozen=True)
class Fidelities:
    """What `paired` learns from, everything with a leading axis of replicas.

    Parameters
    ----------
    tier
        Name of the cheapest tier.
    bulk, held_out_bulk
        Observables, shape (replica, n, feature), and parameters, (replica, n, parameter), of
        training and validation sims of the cheapest tier.
    pairs
        Training pairs of every level, cheapest first.
    held_out
        Validation pairs of the top level.
    """

    tier: str
    bulk: Sims
    held_out_bulk: Sims
    pairs: Sequence[Pairs]
    held_out: Pairs


class Ladder:
    """Translations of every level, in the space where they are simple.

    Parameters
    ----------
    low
        Flows of the cheapest tier.
    pairs
        Training pairs of every level, cheapest first.
    latent
        Whether translations act in the base space of the flows.
    """

    def __init__(self, low: FlowReplicas, pairs: Sequence[Pairs], *, latent: bool) -> None:
        self.low, self.latent = low, latent
        self.pairs = [self.encode_pairs(level) for level in pairs]
        fits = [fit_translation(level) for level in self.pairs]
        self.steps = [step for step, _ in fits]
        self.predicted = [predicted for _, predicted in fits]

    @torch.no_grad()
    def encode(self, x: Tensor, y: Tensor) -> Tensor:
        """Map observables to the space of translations."""
        return self.low.to_latent(x, y) if self.latent else x

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Map points of that space to observables."""
        return self.low.from_latent(z, y) if self.latent else z

    def encode_pairs(self, level: Pairs) -> Pairs:
        """Map both members of pairs to the space of translations."""
        low, high = (self.encode(x, level.y) for x in (level.low, level.high))
        return Pairs(level.tier, low, high, level.y)

    def draw_bulk(self, z: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Return encoded sims of the cheapest tier as observables of the top tier."""
        return self.decode(translate(z, y, self.steps, generator), y)

    def draw_pairs(self, i: int, generator: torch.Generator) -> Pairs:
        """Return training pairs of level i, the lower member translated, both at the top.

        No pair takes part in the translation of its own lower member. Both members get the same
        noise on the way up.
        """
        level = self.pairs[i]
        low = self.predicted[i] + self.steps[i].noise(level.low, level.y, generator)
        return self.carry(i, low, level, generator)

    def draw_held_out(self, held_out: Pairs, generator: torch.Generator) -> Pairs:
        """Return validation pairs of the top level with the lower member translated."""
        level = self.encode_pairs(held_out)
        low = self.steps[-1].draw(level.low, level.y, generator)
        return self.carry(len(self.steps) - 1, low, level, generator)

    def carry(self, i: int, low: Tensor, level: Pairs, generator: torch.Generator) -> Pairs:
        """Return pairs of tier i + 1 as observables of the top tier."""
        above: list[Translation] = self.steps[i + 1 :]
        seed = int(torch.randint(2**31, (1,), generator=generator))
        low, high = (
            self.decode(translate(z, level.y, above, new_generator(seed)), level.y)
            for z in (low, level.high)
        )
        return Pairs(level.tier, low, high, level.y)


def fit_paired(
    low: FlowReplicas,
    sims: Fidelities,
    training: Training,
    correction: Training,
    *,
    latent: bool,
    n_folds: int,
    seed: int,
    name: str,
) -> tuple[FlowReplicas, History]:
    """Train flows of the top tier, starting from those of the cheapest.

    Parameters
    ----------
    low
        Flows trained on the bulk of the cheapest tier.
    sims
        Data of every replica.
    training, correction
        Settings of the training loop on the translated bulk, and with the pairs.
    latent
        Whether translations act in the base space of `low`, for NLE only.
    n_folds
        Neighbouring replicas that are folds of the same data and share their coefficients.
    seed
        Of batches and noise.
    name
        Stands in the log before every line.
    """
    ladder, model = Ladder(low, sims.pairs, latent=latent), low.copy()
    z, y = ladder.encode(*sims.bulk), sims.bulk[1]
    validation = hold_out(ladder, sims, new_generator(seed))
    objective = partial(
        ControlVariateObjective,
        model,
        partial(ladder.draw_bulk, z, y),
        y,
        tier=sims.tier,
    )
    history = fit(
        model,
        objective([], [], batch_size=training.batch_size),
        partial(mean_over_sims, model, validation[0]),
        training,
        generator=new_generator(seed + 1),
        name=f"{name}, translated bulk",
    )
    draws = [partial(ladder.draw_pairs, i) for i in range(len(sims.pairs))]
    beta = measure_beta(model, draws, y.shape[-2], n_folds, new_generator(seed + 2))
    logging.info("%s: beta = %s", name, ", ".join(f"{b.mean():.2f}" for b in beta))
    history += fit(
        model,
        objective(draws, beta, batch_size=correction.batch_size),
        partial(top_loss, model, validation, beta[-1]),
        correction,
        generator=new_generator(seed + 3),
        name=f"{name}, pairs",
    )
    return model, history


def hold_out(
    ladder: Ladder, sims: Fidelities, generator: torch.Generator
) -> tuple[Sims, Sims, Sims]:
    """Return fixed validation sims: translated bulk, upper and translated lower members of pairs.

    Noise is drawn N_DRAWS times, for the bulk N_BULK_DRAWS times.
    """
    x, y = sims.held_out_bulk
    z = ladder.encode(x, y)
    bulk = torch.cat([ladder.draw_bulk(z, y, generator) for _ in range(N_BULK_DRAWS)], dim=-2)
    held_out = sims.held_out
    drawn = [ladder.draw_held_out(held_out, generator) for _ in range(N_DRAWS)]
    low = torch.cat([level.low for level in drawn], dim=-2)
    return (
        (bulk, y.repeat(1, N_BULK_DRAWS, 1)),
        (held_out.high, held_out.y),
        (low, held_out.y.repeat(1, N_DRAWS, 1)),
    )


def mean_over_sims(model: FlowReplicas, sims: Sims) -> Tensor:
    """Return the mean of f over sims, shape (replica,)."""
    return nll(model, *sims).mean(-1)


def top_loss(model: FlowReplicas, sims: tuple[Sims, Sims, Sims], beta: Tensor) -> Tensor:
    """Return the loss of the top tier with the translated bulk as control variate, (replica,)."""
    bulk, upper, lower = (mean_over_sims(model, part) for part in sims)
    return torch.stack(weigh_levels(bulk, [(upper, lower)], [beta])).sum(0)


@torch.no_grad()
def measure_beta(
    model: FlowReplicas,
    draw_pairs: Sequence[Callable[[torch.Generator], Pairs]],
    n_bulk: int,
    n_folds: int,
    generator: torch.Generator,
) -> list[Tensor]:
    """Return the coefficient of every level that minimises the variance of the loss, in 0 to 1.

    beta = Cov(f^l, f^{l-1}) / Var(f^{l-1}) * n_{l-1} / (n_{l-1} + n_l), the regression coefficient
    and what is lost because the mean of f^{l-1} is an estimate itself. f^{l-1} is of translations
    that do not know the pair.

    Parameters
    ----------
    model
        Has the loss f.
    draw_pairs
        Returns the pairs of every level with both members at the top.
    n_bulk
        Number of bulk sims.
    n_folds
        Neighbouring replicas share the mean of their coefficients.
    generator
        Random numbers of the translations.

    Returns
    -------
    list
        For every level shape (replica,).
    """
    beta, n_below = [], n_bulk
    for draw in draw_pairs:
        drawn = [draw(generator) for _ in range(N_DRAWS)]
        upper = torch.stack([nll(model, level.high, level.y) for level in drawn]).mean(0)
        lower = torch.stack([nll(model, level.low, level.y) for level in drawn]).mean(0)
        upper, lower = (f - f.mean(-1, keepdim=True) for f in (upper, lower))
        slope = (upper * lower).sum(-1) / (lower.square().sum(-1) + 1e-12)
        shared = slope.reshape(-1, n_folds).mean(-1).repeat_interleave(n_folds)
        n = upper.shape[-1]
        beta.append((shared * n_below / (n_below + n)).clamp(0, 1))
        n_below = n
    return beta
