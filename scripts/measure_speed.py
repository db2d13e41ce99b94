"""Measure one case of the benchmarks, each run in processes of its own."""

import logging
from typing import Any

import numpy as np
import pandas as pd

from mflens.benchmarks.alone import run
from mflens.benchmarks.runs import runs
from mflens.io import write_table
from mflens.job import start_job
from mflens.prior import Prior


def main(
    timings: str,
    theory: dict[str, Any],
    simulate: dict[str, Any],
    benchmarks: dict[str, Any],
    case: str,
) -> None:
    """Write the columns of `Run.key`, `part` and `value`, over processes side by side the sum."""
    prior = Prior(theory["parameters"])
    middle = prior.complete(prior.from_unit(np.full((1, len(prior.names)), 0.5))[0])
    shells = theory["shells"]
    world = {
        "parameters": {name: float(value) for name, value in middle.items()},
        "depth_mpc_h": shells["n_shells"] * shells["thickness_mpc_h"],
        "k_max": theory["k_max_h_mpc"],
        "nonlinear": theory["nonlinear"],
        "mesh": simulate["mesh"],
        "survey": simulate["survey"] | benchmarks["survey"],
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
