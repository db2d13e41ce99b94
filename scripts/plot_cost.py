"""Show where the time goes."""

from collections.abc import Sequence

from mflens.files.io import read_table
from mflens.report.methods import plot_cost
from mflens.report.style import save_figure
from mflens.run.job import start_job


def main(cost: str, pdf: str, png: str, ladder: Sequence[str]) -> None:
    """Draw the table of cost."""
    save_figure(plot_cost(read_table(cost), ladder=ladder), pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
