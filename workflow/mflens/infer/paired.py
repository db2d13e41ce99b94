"""The `paired` method: translate the bulk by what the pairs teach, then correct with the pairs.

The compressor stays frozen, so all happens in the space of its summaries t. Translations T_l are
learned from the pairs of every level; the bulk carried through all of them is distributed like
high-fidelity summaries as far as T is right, and it is the coarse level of the multilevel sum.
The correction, unbiased at full weight, has so much variance with few pairs that its weight is
raised from zero only as long as the losses of held-out pairs say that this helps.
"""

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mflens.infer.losses import Pairs, TranslatedObjective, nll
from mflens.infer.training import Training, fit, new_generator
from mflens.infer.translation import Translation, fit_translation, freshen, translate

DAMPINGS = (0.0, 0.5, 1.0)
VALIDATION_DRAWS = 8


@dataclass(frozen=True)
class Fold:
    """One fold's translations and what is held out from it.

    Parameters
    ----------
    steps
        Translations of every level, lowest first.
    train
        Training pairs of every level; `low` holds cross-fitted translations of the lower member.
    held_out
        Held-out pairs of the top level; `low` holds the translation of the lower member.
    """

    steps: list[Translation]
    train: list[Pairs]
    held_out: Pairs


def fit_paired_heads(
    flow: nn.Module,
    bulk: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    pairs: Sequence[Pairs],
    folds: Sequence[tuple[Tensor, Tensor]],
    *,
    tier: str,
    training: Training,
    seed: int,
) -> tuple[list[nn.Module], list[dict[str, Any]]]:
    """Train one flow for every fold of the top level's pairs.

    Parameters
    ----------
    flow
        The pretrained flow; every head starts as its copy.
    bulk, validation
        Summaries, shape (n, summary), and parameters, shape (n, parameter), of the sims that the
        compressor was trained on and of others of the same tier.
    pairs
        Summaries of the pairs of every level, lowest first.
    folds
        Training and held-out pairs of the top level.
    tier
        Name of the lowest tier, for error messages.
    training
        Settings of the training loop.
    seed
        Of batches and residual draws.

    Returns
    -------
    heads
        The flows, at the weight of the correction that held-out pairs prefer.
    history
        Training history of these heads.
    """
    prepared = [prepare_fold(pairs, *fold) for fold in folds]
    best: tuple[list[nn.Module], list[dict[str, Any]], Tensor] | None = None
    for damping in DAMPINGS:
        heads: list[nn.Module] = []
        history: list[dict[str, Any]] = []
        scores: list[Tensor] = []
        for i, fold in enumerate(prepared):
            head, rows, score = fit_head(
                copy.deepcopy(flow),
                (freshen(*bulk, *validation), bulk[1]),
                validation,
                fold,
                tier=tier,
                damping=damping,
                training=training,
                seed=seed + i,
                name=f"paired {i + 1}/{len(folds)}, correction x {damping:g}",
            )
            heads.append(head)
            history.extend({"member": i, **row} for row in rows)
            scores.append(score)
        held_out_losses = torch.cat(scores)
        if best is not None and not is_better(held_out_losses, best[2]):
            break
        best = heads, history, held_out_losses
        logging.info("paired: the correction enters with weight %g", damping)
    assert best is not None
    return best[:2]


def is_better(new: Tensor, old: Tensor) -> bool:
    """Return whether held-out losses, shape (n,), fell by more than a standard error."""
    difference = new - old
    return bool(difference.mean() + difference.std() / len(difference) ** 0.5 < 0)


def prepare_fold(pairs: Sequence[Pairs], train: Tensor, held_out: Tensor) -> Fold:
    """Fit the translations of one fold; lower levels use all their pairs."""
    steps, training_pairs = [], []
    for level in [*pairs[:-1], pairs[-1].select(train)]:
        step, predicted = fit_translation(level.low, level.high, level.y)
        steps.append(step)
        training_pairs.append(Pairs(level.tier, predicted, level.high, level.y))
    rest = pairs[-1].select(held_out)
    translated = steps[-1].mean(rest.low, rest.y)
    return Fold(steps, training_pairs, Pairs(rest.tier, translated, rest.high, rest.y))


def fit_head(
    flow: nn.Module,
    bulk: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    fold: Fold,
    *,
    tier: str,
    damping: float,
    training: Training,
    seed: int,
    name: str,
) -> tuple[nn.Module, list[dict[str, float]], Tensor]:
    """Train one head and score it on the held-out pairs.

    The validation loss has the form of the objective, on validation sims and held-out pairs: the
    translated validation sims are a control variate for the few pairs.

    Returns
    -------
    flow, history
        Trained head and its history.
    score
        f of the upper member of every held-out pair, shape (n_held_out,).
    """
    draws = held_out_draws(*validation, fold, new_generator(seed))

    def validate() -> float:
        mean, correction = score_draws(flow, draws)
        return float(mean + damping * correction.mean())

    objective = TranslatedObjective(
        flow,
        lambda generator: translate(*bulk, fold.steps, generator),
        bulk[1],
        {level.tier: pair_draw(level, fold.steps, i) for i, level in enumerate(fold.train)},
        tier=tier,
        damping=damping,
        batch_size=training.batch_size,
    )
    history = fit(flow, objective, validate, training, generator=new_generator(seed + 1), name=name)
    with torch.no_grad():
        score = nll(flow, fold.held_out.high, fold.held_out.y)
    return flow, history, score.cpu()


def pair_draw(
    level: Pairs, steps: list[Translation], i: int
) -> Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]]:
    """Return a function that carries both members of the pairs of level i to the top.

    Both members get the same residuals on the way up.
    """

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        low = level.low + steps[i].noise(len(level), generator)
        seed = int(torch.randint(2**31, (1,), generator=generator))
        above = steps[i + 1 :]
        return (
            translate(level.high, level.y, above, new_generator(seed)),
            translate(low, level.y, above, new_generator(seed)),
            level.y,
        )

    return draw


def held_out_draws(
    t: Tensor, y: Tensor, fold: Fold, generator: torch.Generator
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Return fixed draws of the translated validation sims and of the held-out pairs."""
    bulk = torch.cat([translate(t, y, fold.steps, generator) for _ in range(VALIDATION_DRAWS)])
    rest = fold.held_out
    low = torch.stack(
        [rest.low + fold.steps[-1].noise(len(rest), generator) for _ in range(VALIDATION_DRAWS)]
    )
    return (bulk, y.repeat(VALIDATION_DRAWS, 1)), (rest.high, low, rest.y)


def score_draws(
    flow: nn.Module, draws: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Return the mean of f over the translated validation sims and every pair's correction."""
    bulk, (high, low, y) = draws
    correction = nll(flow, high, y) - nll(flow, low, y.expand(*low.shape[:-1], -1)).mean(0)
    return nll(flow, *bulk).mean(), correction
