"""Measure one case of the benchmarks, each run in processes of its own."""

import logging
from typing import Any

import pandas as pd

from mflens.benchmarks.alone import run
from mflens.benchmarks.runs import runs
from mflens.files.io import write_table
from mflens.run.job import start_job


def main(
    timings: str,
    theory: dict[str, Any],
    simulate: dict[str, Any],
    benchmarks: dict[str, Any],
    case: str,
    emulator: str | None = None,
) -> None:
    """Write the columns of `Run.key`, `part` and `value`, over processes side by side the sum."""
    world = {
        "theory": theory,
        "mesh": simulate["mesh"],
        "survey": simulate["survey"] | benchmarks["survey"],
        "emulator": emulator,
    }
    rows = []
    for one in runs(case, benchmarks):
        tiers = simulate["tiers"]
        changed = tiers["particle_mesh"] | dict(one.tier_options)
        options = world | {"tiers": tiers | {"particle_mesh": changed}} | one.size
        found = run(one.case, options | dict(one.options), one.threads, one.processes)
        for part in found[0]:
            rows.append(one.key | {"part": part, "value": sum(each[part] for each in found)})
        logging.info("%s: %s", one.key, found)
    write_table(timings, pd.DataFrame(rows))


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
