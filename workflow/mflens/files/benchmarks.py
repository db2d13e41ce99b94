"""Snakemake's benchmark files: what jobs cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mflens.errors import DataError
from mflens.files.provenance import PathLike

NONE = "-"  # a tier or split where there is none


def read_benchmarks(paths: Sequence[PathLike], threads: Mapping[str, int]) -> pd.DataFrame:
    """Read Snakemake's benchmark files.

    Parameters
    ----------
    paths
        Benchmark files, below a folder `benchmarks`.
    threads
        Threads of the rules that use more than one.

    Returns
    -------
    DataFrame
        One row a job: `rule, tier, split, core_s, max_rss_mb`. Core-seconds are wall time times
        the threads that the job held, as a cluster bills them: Snakemake samples CPU time only
        every 30 s, too coarse for short jobs.
    """
    rows = []
    for path in paths:
        rule, tier, split = job_of(Path(path))
        try:
            measured = pd.read_csv(path, sep="\t").iloc[-1]
            core_s = float(measured["s"]) * threads.get(rule, 1)
            memory = pd.to_numeric(measured["max_rss"], errors="coerce")
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise DataError(
                f"{path} is not a benchmark; delete it and what its job made, and run again."
            ) from error
        rows.append((rule, tier, split, core_s, memory))
    return pd.DataFrame(rows, columns=["rule", "tier", "split", "core_s", "max_rss_mb"])


def job_of(path: Path) -> tuple[str, str, str]:
    """Return rule, tier and split of a benchmark file, from its path below `benchmarks`."""
    parts = path.with_suffix("").parts
    rule, *rest = parts[parts.index("benchmarks") + 1 :]
    if rule in ("simulate_maps", "measure_spectra"):
        return rule, rest[0], rest[1]
    return (rule, NONE, rest[0]) if rule == "compute_spectra" else (rule, NONE, NONE)
