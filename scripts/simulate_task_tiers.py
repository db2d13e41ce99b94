"""Draw the sims of all repetitions of an experiment of a published task."""

from typing import Any

from mflens.files.io import write_hdf5
from mflens.run.job import start_job
from mflens.tasks.data import draw_repetitions
from mflens.tasks.plan import split_sizes
from mflens.tasks.simulators.toys import make_toy


def main(
    data: list[str],
    tiers: str,
    options: dict[str, Any],
    levels: list[list[int]],
    test: int,
    repetitions: int,
    shared: float,
    seed: int,
    task: str,
    experiment: str,
) -> None:
    """Write parameters and observations of every split; the simulators read `data` themselves."""
    toy = make_toy(task, options)
    sizes = split_sizes(levels, test, toy.ladder)
    arrays = draw_repetitions(toy, sizes, repetitions, shared=shared, seed=seed)
    attributes = {"task": task, "experiment": experiment, "parameters": list(toy.parameters)}
    write_hdf5(tiers, arrays, {**attributes, "ladder": toy.ladder, "cost": toy.costs})


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
