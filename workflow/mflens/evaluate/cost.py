"""What simulations and training cost, from the workflow's own measurements."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

EMULATOR_RULES = ("compute_training_power", "train_emulator")
PAUSE_S = 10.0  # nothing runs for so long only between two runs


def summarise_cost(jobs: pd.DataFrame) -> pd.DataFrame:
    """Return the cost of every rule and tier.

    Parameters
    ----------
    jobs
        One row a job: `rule, tier, split, core_s, max_rss_mb` (`benchmarks.read_benchmarks`).

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


@dataclass(frozen=True)
class Simulations:
    """Which simulations a run has, as far as the cost of a method depends on them.

    Attributes
    ----------
    splits
        Tiers of every split (`plan.splits`).
    sims
        Number of sims of every split.
    simulated
        Tiers that are not read from files: they take power and spectra of shells from the theory.
    calibrated
        Splits whose pairs need the calibration of the seed matching.
    """

    splits: Mapping[str, Sequence[str]]
    sims: Mapping[str, int]
    simulated: Sequence[str]
    calibrated: Sequence[str]

    def learned(self, learns_from: Iterable[str], n_high: int) -> dict[tuple[str, str], float]:
        """Return the share of the sims that a method learns from, by split and tier."""
        pairs = [split for split in self.splits if split.startswith("pairs_")]
        top = pairs[-1]
        members = {
            "bulk": [("bulk", tier) for tier in self.splits["bulk"]],
            "validation": [("validation", tier) for tier in self.splits["validation"]],
            "pairs": [(split, tier) for split in pairs for tier in self.splits[split]],
            "high": [(top, self.splits[top][-1])],
        }
        shares = dict.fromkeys(self.splits, 1.0) | {top: n_high / self.sims[top]}
        return {sims: shares[sims[0]] for word in learns_from for sims in members[word]}


def method_cost(
    jobs: pd.DataFrame,
    run: Simulations,
    *,
    learns_from: Iterable[str],
    observable: str,
    n_high: int,
    training_core_s: float,
) -> float:
    """Return the core-seconds that it takes to get a method: simulations and training.

    A job counts once, and with the share of its sims that the method learns from:

    - `simulate_maps` of these sims, and `measure_spectra` where spectra are what it looks at;
    - `compute_spectra` of their splits where a tier is simulated, once for both members of a pair,
      and with it the kernels and the emulator of the power, if there is one;
    - `compute_whitening`, the calibration of the seed matching, where it learns from matched pairs;
    - `draw_parameters`, for all but the prior.

    Test sims, posterior samples and scores are not part of a method.

    Parameters
    ----------
    jobs
        One row a job (`benchmarks.read_benchmarks`).
    run
        The simulations.
    learns_from, observable
        Those of the method (`infer.methods.Method`).
    n_high
        High-fidelity sims it learns from.
    training_core_s
        Core-seconds of its training, pretraining included where it starts from it.
    """
    learned = run.learned(learns_from, n_high)
    shares = [
        job_share(rule, tier, split, run, learned, observable)
        for rule, tier, split in zip(jobs["rule"], jobs["tier"], jobs["split"], strict=True)
    ]
    return training_core_s + float((jobs["core_s"] * shares).sum())


def job_share(
    rule: str,
    tier: str,
    split: str,
    run: Simulations,
    learned: Mapping[tuple[str, str], float],
    observable: str,
) -> float:
    """Return the share of a job that a method needs; see `method_cost`.

    Parameters
    ----------
    rule, tier, split
        The job (`job_of`).
    run
        The simulations.
    learned
        What the method learns from (`Simulations.learned`).
    observable
        What it looks at, `maps` or `spectra`.
    """
    if rule == "simulate_maps" or (rule == "measure_spectra" and observable == "spectra"):
        return learned.get((split, tier), 0.0)
    theory = {s: share for (s, t), share in learned.items() if t in run.simulated}
    if rule == "compute_spectra":
        return theory.get(split, 0.0)
    matched = any(all((s, t) in learned for t in run.splits[s]) for s in run.calibrated)
    needed = {
        "draw_parameters": bool(learned),
        "compute_whitening": matched,
        **dict.fromkeys(("compute_kernels", *EMULATOR_RULES), bool(theory)),
    }
    return float(needed.get(rule, False))
