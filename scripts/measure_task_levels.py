"""Measure costs and variances of the levels of a published task with a pilot."""

import logging
from typing import Any

import numpy as np

from mflens.files.io import write_table
from mflens.prior import Prior
from mflens.run.job import start_job
from mflens.tasks.data import draw_splits, engine_settings, training_data
from mflens.tasks.pilot import measure_variances, split_pilot, tabulate_levels, time_tiers
from mflens.tasks.simulators.toys import make_toy

STREAM = 2  # the pilot's sims are not those of the runs


def main(data: list[str], levels: str, settings: dict[str, Any], seed: int, task: str) -> None:
    """Write one row a level; the simulators read `data` themselves."""
    toy, pilot = make_toy(task, settings["options"]), settings["pilot"]
    sizes = {"bulk": pilot["bulk"]}
    sizes |= {f"pairs_{tier}": 2 * pilot["pairs"] for tier in toy.ladder[1:]}
    splits = draw_splits(
        toy, sizes, pilot["repetitions"], shared=settings["shared"], seed=[seed, STREAM]
    )
    drawn = training_data(
        splits,
        toy.ladder,
        list(sizes.values()),
        estimator=settings["estimator"],
        prior=Prior(toy.parameters),
    )
    fitted, rest = split_pilot(drawn, pilot["pairs"])
    measured = measure_variances(fitted, rest, engine_settings(settings, seed))
    seconds = time_tiers(toy, np.random.default_rng([seed, STREAM]))
    table = tabulate_levels(toy, seconds, measured)
    logging.info("levels:\n%s", table.to_string(index=False))
    write_table(levels, table)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
