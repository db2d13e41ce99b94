"""Sum up what every rule and tier cost, and what it cost to run them by Snakemake."""

from pathlib import Path

import pandas as pd

from mflens.evaluate.cost import summarise_cost, summarise_overhead
from mflens.files.benchmarks import read_benchmarks
from mflens.files.io import write_markdown, write_table
from mflens.run.job import read_start, start_job


def main(
    simulations: list[str],
    training: list[str],
    others: list[str],
    cost: str,
    markdown: str,
    overhead: str,
    overhead_markdown: str,
    threads: dict[str, int],
) -> None:
    """Write `rule, tier, jobs, core_s, max_rss_mb` and `what, core_s, share`."""
    table = summarise_cost(read_benchmarks([*simulations, *training, *others], threads))
    write_table(cost, table)
    write_markdown(markdown, table)
    table = summarise_overhead(read_jobs(Path(cost).parents[1]))
    write_table(overhead, table)
    write_markdown(overhead_markdown, table)


def read_jobs(results: Path) -> pd.DataFrame:
    """Return what `summarise_overhead` needs of all jobs that have ended, from their files."""
    rows = []
    for path in sorted(results.glob("benchmarks/**/*.tsv")):
        log = results / "logs" / path.relative_to(results / "benchmarks").with_suffix(".log")
        # Snakemake writes the benchmark when the job ends
        end, seconds = path.stat().st_mtime, pd.read_csv(path, sep="\t")["s"].iloc[-1]
        rows.append((end - seconds, end, *(read_start(log) if log.exists() else (1, 0.0, 0.0))))
    return pd.DataFrame(rows, columns=["start", "end", "threads", "starting_s", "compiling_s"])


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
