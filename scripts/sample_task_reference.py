"""Compute the exact answers at the first test sims of an experiment of a published task."""

from typing import Any

from mflens.files.io import read_hdf5, write_hdf5
from mflens.run.job import start_job
from mflens.tasks.reference import draw_reference
from mflens.tasks.simulators.toys import make_toy


def main(
    tiers: str,
    reference: str,
    options: dict[str, Any],
    estimator: str,
    metrics: list[str],
    evaluate: dict[str, int],
    seed: int,
    task: str,
    experiment: str,
) -> None:
    """Write posterior samples, densities or fresh simulations, whatever the task has."""
    toy = make_toy(task, options)
    top = toy.ladder[-1]
    arrays, _ = read_hdf5(tiers, ["test/theta", f"test/{top}"])
    kept = slice(evaluate["n_reference"])
    theta, x = arrays["test/theta"][:, kept], arrays[f"test/{top}"][:, kept]
    exact = draw_reference(
        toy,
        theta,
        x,
        metrics,
        estimator=estimator,
        n_samples=evaluate["n_reference_samples"],
        seed=seed,
    )
    write_hdf5(reference, exact, {"task": task, "experiment": experiment})


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
