"""Show the coverage of all methods in an experiment of a published task."""

from typing import Any

from mflens.files.io import read_groups
from mflens.report.style import save_figure
from mflens.run.job import start_job
from mflens.tasks.figures.methods import plot_task_coverage
from mflens.tasks.tables import write_levels


def main(
    scores: list[str], pdf: str, png: str, runs: dict[str, Any], task: str, experiment: str
) -> None:
    """Draw one panel per file of scores, which come in the order of `runs`."""
    found = {
        write_levels(run["levels"]): read_groups(path)[0]
        for path, run in zip(scores, runs.values(), strict=True)
    }
    save_figure(plot_task_coverage(found, experiment=experiment), pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
