"""Show the ablations of a published task."""

from typing import Any

from mflens.files.io import read_table
from mflens.report.style import save_figure
from mflens.run.job import start_job
from mflens.tasks.figures.design import plot_task_ablations


def main(
    ablations: str, pdf: str, png: str, studies: dict[str, Any], metrics: list[str], task: str
) -> None:
    """Draw one panel for every kind of ablation."""
    save_figure(plot_task_ablations(read_table(ablations), studies, metrics[0]), pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
