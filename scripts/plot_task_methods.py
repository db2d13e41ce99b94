"""Show the leading metrics of all methods on a published task."""

from mflens.files.io import read_table
from mflens.report.style import save_figure
from mflens.run.job import start_job
from mflens.tasks.figures.methods import plot_task_methods


def main(methods: str, pdf: str, png: str, task: str) -> None:
    """Draw the table of methods."""
    save_figure(plot_task_methods(read_table(methods)), pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
