"""What simulations and training cost, from the workflow's own measurements."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

SIMULATION_RULES = ("compute_spectra", "simulate_maps", "measure_spectra")
EMULATOR_RULES = ("compute_training_power", "train_emulator")
NONE = "-"
PAUSE_S = 10.0  # nothing runs for so long only between two runs


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


def summarise_overhead(jobs: pd.DataFrame) -> pd.DataFrame:
    """Return what the cores did in the last run: `what, core_s, share`.

    Parameters
    ----------
    jobs
        One row a job: `start` and `end` (s), `threads`, `starting_s`, the CPU time that the
        interpreter and imports took before any work, and `compiling_s`, that of compiling PySCo.

    Notes
    -----
    The shares are of all cores from the start of the first job to the end of the last. Scheduling
    is the time from the latest end of any job to the start of a job, as a job starts when another
    makes room or a product for it; cores that idle beyond that wait for products.
    """
    jobs = jobs.sort_values("start")
    pauses = jobs["start"] - jobs["end"].cummax().shift(fill_value=-np.inf)
    jobs = jobs[(pauses > PAUSE_S).cumsum() == (pauses > PAUSE_S).sum()]
    start, end, threads = (jobs[name].to_numpy() for name in ("start", "end", "threads"))
    times = np.concatenate([start, end])
    changes = np.concatenate([threads, -threads])[np.argsort(times, kind="stable")]
    cores = max(changes.cumsum())
    total = cores * (end.max() - start.min())
    latest = np.searchsorted(np.sort(end), start, side="right")
    waited = (start - np.sort(end)[np.maximum(latest - 1, 0)])[latest > 0]
    starting, compiling = (float(jobs[name].sum()) for name in ("starting_s", "compiling_s"))
    scheduling = float((waited * threads[latest > 0]).sum())
    busy = float(((end - start) * threads).sum())
    rows = {
        "work of the jobs": busy - starting - compiling,
        "compiling PySCo, once per environment": compiling,
        "starting the jobs' processes": starting,
        "scheduling": scheduling,
        "waiting for other jobs": total - busy - scheduling,
        "Snakemake: starting and scheduling": starting + scheduling,
    }
    table = pd.DataFrame({"what": list(rows), "core_s": list(rows.values())})
    return table.assign(share=table["core_s"] / total)


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
