"""Folds of the cross-validation: equal in size, so that all can be trained at once."""

import torch
from torch import Tensor

from mflens.errors import ConfigError


def split_folds(
    n: int, *, tier: str, n_folds: int, n_repetitions: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return positions of training and held-out sims of every replica.

    Held-out sims of different folds do not overlap; what is left when n is no multiple of n_folds
    is training sims in every fold.

    Parameters
    ----------
    n
        Number of sims.
    tier
        Their tier, for the error message.
    n_folds
        Shares of the sims, each of which one replica leaves out.
    n_repetitions
        How often they are split anew; neighbouring replicas are the folds of a repetition.
    generator
        Random numbers of the order.

    Returns
    -------
    train, held_out
        Shapes (replica, n - n // n_folds) and (replica, n // n_folds).

    Raises
    ------
    ConfigError
        If there are fewer than two sims for a fold.
    """
    if n < 2 * n_folds:
        raise ConfigError(
            f"{n} sims of {tier} are too few for {n_folds} folds; ask for at least {2 * n_folds} "
            "(infer.n_high, or the levels of a task's runs) or lower n_folds."
        )
    order = torch.rand(n_repetitions, n, generator=generator).argsort(1)
    size = n // n_folds
    rolled = [order.roll(-fold * size, 1) for fold in range(n_folds)]
    by_replica = torch.stack(rolled, dim=1).flatten(0, 1)
    return by_replica[:, size:], by_replica[:, :size]
