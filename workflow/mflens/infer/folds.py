"""Folds of the cross-validation: equal in size, so that all can be trained at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mflens.errors import ConfigError


def split_folds(
    n: int,
    *,
    tier: str,
    n_folds: int,
    n_repetitions: int,
    generator: torch.Generator,
    n_together: int = 1,
) -> tuple[Tensor, Tensor]:
    """Return positions of training and held-out sims of every replica.

    Held-out sims of different folds do not overlap; what is left when n is no multiple of n_folds
    is training sims in every fold. Sims of one cosmology stay in one fold.

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
    n_together
        How many neighbouring sims share one cosmology; n is a multiple of it.

    Returns
    -------
    train, held_out
        Shapes (replica, n - n_held_out) and (replica, n_held_out), of n // n_folds sims or of as
        many whole cosmologies as that allows.

    Raises
    ------
    ConfigError
        If there are fewer than two sims, or no cosmology, for a fold.
    """
    n_groups = n // n_together
    if n_groups < n_folds:
        raise ConfigError(
            f"{n} sims of {tier} with {n_together} of each N-body run are {n_groups} cosmologies, "
            f"too few for {n_folds} folds; raise infer.n_high or lower simulate.mocks_per_run."
        )
    if n < 2 * n_folds:
        raise ConfigError(
            f"{n} sims of {tier} are too few for {n_folds} folds; ask for at least {2 * n_folds} "
            "(infer.n_high, or the levels of a task's runs) or lower n_folds."
        )
    order = torch.rand(n_repetitions, n_groups, generator=generator).argsort(1)
    size = n_groups // n_folds
    rolled = [order.roll(-fold * size, 1) for fold in range(n_folds)]
    groups = torch.stack(rolled, dim=1).flatten(0, 1)
    members = groups[..., None] * n_together + torch.arange(n_together)
    return members[:, size:].flatten(1), members[:, :size].flatten(1)


def count_together(cosmology: Sequence[int]) -> int:
    """Return how many neighbouring sims share each cosmology; 1 where they do not lie in blocks."""
    _, counts = torch.unique_consecutive(torch.as_tensor(cosmology), return_counts=True)
    n_different = len(torch.unique(torch.as_tensor(cosmology)))
    in_blocks = len(counts) == n_different and len(torch.unique(counts)) == 1
    return int(counts[0]) if in_blocks else 1
