"""How many sims of every level: the planner of sample allocation, and what it expects.

The loss is a sum of independent means, of f^0 over n_0 bulk sims and of f^l - f^{l-1} over n_l
pairs. Its variance sum_l V_l / n_l, at a budget sum_l n_l C_l, is smallest for

    n_l = budget sqrt(V_l / C_l) / sum_k sqrt(V_k C_k) ,

with C_0 the cost of a cheapest sim and C_l that of a pair, both its members.

This is the variance of the loss at given weights. It is not the excess risk of what was learned,
which also depends on the number of parameters, the training and, for a method that translates,
on how many pairs the translation is learned from.

References
----------
arXiv:2506.06087, theorem 2, with measured V_l in place of its bounds
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from mflens.errors import ConfigError
from mflens.tasks.tables import write_levels

ALLOCATION_COLUMNS = [
    "allocation", "levels", "n_low", "n_high", "cost", "expected_error_raw",
    "expected_error_translated", "over_published_raw", "over_published_translated",
]  # fmt: skip
KINDS = ("raw", "translated")  # differences of the levels as simulated, and as `paired` sees them


def level_costs(costs: ArrayLike) -> np.ndarray:
    """Return the cost of one unit of every level: C_0, then C_l + C_{l-1}, shape (level,)."""
    tiers = np.asarray(costs, dtype=float)
    return tiers + np.concatenate([[0.0], tiers[:-1]])


def plan_levels(variances: ArrayLike, costs: ArrayLike, budget: float, *, least: int) -> list[int]:
    """Return the numbers of sims that minimise the variance of the loss for a budget.

    Parameters
    ----------
    variances
        V_l of every level, not negative.
    costs
        Cost of one unit of every level, in the unit of the budget (`level_costs`).
    budget
        Not exceeded.
    least
        Sims of every level at least.

    Raises
    ------
    ConfigError
        If the budget does not pay the least numbers.
    """
    v, c = np.asarray(variances, dtype=float), np.asarray(costs, dtype=float)
    if budget < least * c.sum():
        raise ConfigError(
            f"A budget of {budget:g} does not pay {least} sims of each of {len(c)} levels; give at "
            f"least {least * c.sum():g}."
        )
    found = np.floor(minimise_variance(v, c, budget, least) * (1 + 1e-12)).astype(int)
    spend_rest(found, v, c, budget)
    return [int(n) for n in found]


def minimise_variance(v: np.ndarray, c: np.ndarray, budget: float, least: float) -> np.ndarray:
    """Return the real numbers of sims that minimise sum v/n at cost sum n c, each at least `least`.

    Levels that the closed form gives fewer get the least number and leave the rest of the budget
    to the others, until none is below.
    """
    free = np.ones(len(v), dtype=bool)
    n = np.full(len(v), float(least))
    while free.any():
        left = budget - least * c[~free].sum()
        weight = np.sqrt(v * c)[free].sum()
        share = np.sqrt(v[free] / c[free]) / weight if weight > 0 else 1 / c[free].sum()
        n[free] = left * share
        below = free & (n < least * (1 - 1e-9))
        if not below.any():
            return n
        n[below], free = least, free & ~below
    return n


def spend_rest(n: np.ndarray, v: np.ndarray, c: np.ndarray, budget: float) -> None:
    """Add single sims, in place, where a unit of cost helps most, as long as the budget lasts."""
    left = budget - n @ c
    for level in np.argsort(-v / (n * (n + 1) * c)):
        more = int(math.floor(left / c[level] * (1 + 1e-12)))
        n[level] += more
        left -= more * c[level]


def expected_error(variances: ArrayLike, levels: ArrayLike) -> float:
    """Return the standard error of the loss, sqrt(sum V_l / n_l)."""
    return float(np.sqrt(np.sum(np.asarray(variances) / np.asarray(levels))))


def tabulate_allocations(
    levels: pd.DataFrame, allocations: Mapping[str, Sequence[int]], *, least: int
) -> pd.DataFrame:
    """Compare the planned with the given numbers of sims.

    Parameters
    ----------
    levels
        What the pilot measured, in the columns of `pilot.LEVEL_COLUMNS`.
    allocations
        Given numbers of sims by name; the cost of the first ones is the budget, and their
        expected errors are what the others are divided by.
    least
        Sims of every level at least.

    Returns
    -------
    DataFrame
        Columns `ALLOCATION_COLUMNS`; the last row has the top tier alone.
    """
    costs = level_costs(levels["cost_tier"])
    variances = {kind: levels[f"variance_{kind}"].to_numpy() for kind in KINDS}
    published = next(iter(allocations.values()))
    budget = float(np.dot(published, costs))
    planned = {
        f"planned_{kind}": plan_levels(variances[kind], costs, budget, least=least)
        for kind in KINDS
    }
    rows = []
    for name, numbers in {**allocations, **planned}.items():
        errors = [expected_error(variances[kind], numbers) for kind in KINDS]
        rows.append(_row(name, numbers, float(np.dot(numbers, costs)), errors))
    top = levels.iloc[-1]
    alone = [0] * (len(costs) - 1) + [int(budget // top["cost_tier"])]
    error = math.sqrt(top["variance_tier"] / alone[-1])
    rows.append(_row("top_tier_alone", alone, alone[-1] * top["cost_tier"], [error, error]))
    table = pd.DataFrame(rows)
    for kind in KINDS:
        errors = table[f"expected_error_{kind}"]
        table[f"over_published_{kind}"] = errors / errors[0]
    return table[ALLOCATION_COLUMNS]


def _row(name: str, levels: Sequence[int], cost: float, errors: Sequence[float]) -> dict:
    named = {f"expected_error_{kind}": error for kind, error in zip(KINDS, errors, strict=True)}
    numbers = {"levels": write_levels(levels), "n_low": levels[0], "n_high": levels[-1]}
    return {"allocation": name, **numbers, "cost": cost, **named}
