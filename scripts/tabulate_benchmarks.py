"""Sum up the benchmarks: ratios against targets, scaling laws, the estimate for a survey run."""

import logging
from typing import Any

import pandas as pd

from mflens.benchmarks.tables import Timings, estimate_survey, scaling_table, speed_table
from mflens.files.benchmarks import read_benchmarks
from mflens.files.io import read_table, write_markdown, write_table
from mflens.run.job import start_job


def main(
    timings: list[str],
    emulator: list[str],
    speed: str,
    speed_markdown: str,
    scaling: str,
    scaling_markdown: str,
    estimate: str,
    estimate_markdown: str,
    benchmarks: dict[str, Any],
    power: str,
    realisations: int,
    n_calibration: int,
) -> None:
    """Write the three tables, as CSV and Markdown, and print the estimate."""
    measured = Timings(pd.concat([read_table(path) for path in timings]), benchmarks, power)
    laws = scaling_table(measured)
    n_bins = len(benchmarks["survey"]["n_gal_arcmin2"])
    emulator_s = read_benchmarks(emulator, {})["core_s"].sum()
    survey_run = estimate_survey(
        measured, laws, benchmarks["estimate"], n_bins, realisations, n_calibration, emulator_s
    )
    for path, markdown, table in (
        (speed, speed_markdown, speed_table(measured)),
        (scaling, scaling_markdown, laws),
        (estimate, estimate_markdown, survey_run),
    ):
        write_table(path, table)
        write_markdown(markdown, table)
    for row in survey_run.itertuples(index=False):
        logging.info(
            "survey run, %s: %d sims, %.0f core-hours, %.0f GB",
            row.sims, row.number, row.core_h, row.disk_gb,
        )  # fmt: skip


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
