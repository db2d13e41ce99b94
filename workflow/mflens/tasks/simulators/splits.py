"""Which tiers run in which split of a published task, and where its random numbers come from."""

from collections.abc import Iterable, Sequence

import numpy as np

from mflens.errors import ConfigError


def ladder_splits(ladder: Sequence[str]) -> dict[str, list[str]]:
    """Return the tiers, cheapest first, of every split that a ladder has.

    `test` is the most expensive tier, `bulk` the cheapest, `pairs_<tier>` that tier and the next
    cheaper one, `single_<tier>` that tier alone.
    """
    splits = {"test": [ladder[-1]], "bulk": [ladder[0]]}
    for low, high in zip(ladder[:-1], ladder[1:], strict=True):
        splits[f"pairs_{high}"] = [low, high]
    return splits | {f"single_{tier}": [tier] for tier in ladder}


def check_splits(names: Iterable[str], ladder: Sequence[str]) -> None:
    """Check that a ladder has splits of these names.

    Raises
    ------
    ConfigError
        If it has not.
    """
    known = ladder_splits(ladder)
    for name in names:
        if name not in known:
            raise ConfigError(
                f"'{name}' is no split of the ladder {', '.join(ladder)}; name one of "
                f"{', '.join(known)}."
            )


def split_streams(
    ladder: Sequence[str], rng: np.random.Generator
) -> dict[str, np.random.Generator]:
    """Return a generator of its own for every split that a ladder has."""
    names = list(ladder_splits(ladder))
    return dict(zip(names, rng.spawn(len(names)), strict=True))
