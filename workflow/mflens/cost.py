"""What simulations and training cost, from the workflow's own measurements."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

SIMULATION_RULES = ("compute_spectra", "simulate_maps", "measure_spectra")
EMULATOR_RULES = ("compute_training_power", "train_emulator")
NONE = "-"


def summarise_cost(jobs: pd.DataFrame) -> pd.DataFrame:
    """Return the cost of every rule and tier.

    Parameters
    ----------
    jobs
        One row a job: `rule, tier, split, core_s, max_rss_mb` (`io.read_benchmarks`).

    Returns
    -------
    DataFrame
        `rule, tier, jobs, core_s, max_rss_mb`, the most expensive first.
    """
    grouped = jobs.groupby(["rule", "tier"], as_index=False).agg(
        jobs=("core_s", "size"), core_s=("core_s", "sum"), max_rss_mb=("max_rss_mb", "max")
    )
    return grouped.sort_values("core_s", ascending=False, ignore_index=True)


def simulation_cost(jobs: pd.DataFrame, split: str, tier: str, sims: int) -> float:
    """Return the core-seconds of one sim of a split on a tier, its theory included.

    Parameters
    ----------
    jobs
        One row a job (`io.read_benchmarks`).
    split, tier
        Which sims.
    sims
        Number of sims of the split.
    """
    chosen = jobs[(jobs["split"] == split) & jobs["rule"].isin(SIMULATION_RULES)]
    return float(chosen[chosen["tier"].isin([tier, NONE])]["core_s"].sum()) / sims


def method_cost(
    jobs: pd.DataFrame,
    splits: Mapping[str, Sequence[str]],
    sims: Mapping[str, int],
    tiers_used: Iterable[str],
    n_high: int,
    training_core_s: float,
) -> float:
    """Return the core-seconds that a posterior by some method costs: simulations and training.

    Every method that uses sims pays for the emulator of the power, if there is one.

    Parameters
    ----------
    jobs
        One row a job (`io.read_benchmarks`).
    splits
        Tiers of every split (`plan.splits`).
    sims
        Number of sims of every split.
    tiers_used
        `bulk`, `pairs` and `high` as far as the method learns from them: `pairs` are both members
        of all neighbouring tiers, `high` the top member alone.
    n_high
        High-fidelity sims it learns from.
    training_core_s
        Core-seconds of its training, pretraining included where it starts from it.
    """
    used = set(tiers_used)
    total = training_core_s
    if used:
        total += float(jobs[jobs["rule"].isin(EMULATOR_RULES)]["core_s"].sum())
    if "bulk" in used:
        for split in ("bulk", "validation"):
            total += sims[split] * simulation_cost(jobs, split, splits[split][0], sims[split])
    pairs = [split for split in splits if split.startswith("pairs_")]
    if "pairs" in used:
        for split in pairs:
            number = n_high if split == pairs[-1] else sims[split]
            costs = [simulation_cost(jobs, split, t, sims[split]) for t in splits[split]]
            total += number * sum(costs)
    elif "high" in used:
        total += n_high * simulation_cost(jobs, pairs[-1], splits[pairs[-1]][-1], sims[pairs[-1]])
    return total


def job_of(path: Path) -> tuple[str, str, str]:
    """Return rule, tier and split of a benchmark file, from its path below `benchmarks`."""
    parts = path.with_suffix("").parts
    rule, *rest = parts[parts.index("benchmarks") + 1 :]
    if rule in ("simulate_maps", "measure_spectra"):
        return rule, rest[0], rest[1]
    return (rule, NONE, rest[0]) if rule == "compute_spectra" else (rule, NONE, NONE)
