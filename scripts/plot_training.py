"""Show training and validation curves of all methods that train a network."""

from collections.abc import Sequence
from typing import Any

from mflens.files.io import read_table
from mflens.prior import Prior
from mflens.report.style import save_figure
from mflens.report.training import plot_training
from mflens.run.job import start_job


def main(
    pretraining: str,
    finetuning: Sequence[str],
    pdf: str,
    png: str,
    runs: Sequence[tuple[str, int]],
    parameters: dict[str, Any],
) -> None:
    """Draw the histories; `runs` names method and n_high of each file in `finetuning`."""
    histories = [
        (method, n_high, read_table(path))
        for (method, n_high), path in zip(runs, finetuning, strict=True)
    ]
    n_parameters = len(Prior(parameters).names)
    figure = plot_training(read_table(pretraining), histories, n_parameters=n_parameters)
    save_figure(figure, pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
