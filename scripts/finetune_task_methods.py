"""Fit all methods to one run of an experiment of a published task, all repetitions at once."""

from typing import Any

import pandas as pd

from mflens.files.io import read_groups, save_model, write_table
from mflens.infer.tasks import TaskSettings, fit_methods
from mflens.prior import Prior
from mflens.run.job import start_job
from mflens.tasks.data import training_data
from mflens.tasks.simulators.toys import make_toy

HISTORY_COLUMNS = ["method", "epoch", "train", "validation"]


def main(
    tiers: str,
    models: str,
    history: str,
    options: dict[str, Any],
    estimator: str,
    levels: list[int],
    methods: list[str],
    n_folds: int,
    n_summaries: int,
    latent: bool,
    flow: dict[str, Any],
    training: dict[str, Any],
    correction: dict[str, Any],
    mlmc: dict[str, Any],
    seed: int,
    task: str,
    experiment: str,
    run: str,
) -> None:
    """Write what every method learned, and the training history."""
    toy = make_toy(task, options)
    data = training_data(
        read_groups(tiers)[0],
        toy.ladder,
        levels,
        estimator=estimator,
        prior=Prior(toy.parameters),
    )
    settings = TaskSettings(
        flow=flow,
        training=training,
        correction=correction,
        mlmc=mlmc,
        n_folds=n_folds,
        n_summaries=n_summaries,
        latent=latent,
        seed=seed,
    )
    estimates, rows = fit_methods(data, methods, settings)
    taken_apart = {method: estimate.to_state() for method, estimate in estimates.items()}
    state = {method: parts[0] for method, parts in taken_apart.items()}
    arguments = {method: parts[1] for method, parts in taken_apart.items()}
    save_model(models, state, arguments)
    write_table(history, pd.DataFrame(rows, columns=HISTORY_COLUMNS))


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
