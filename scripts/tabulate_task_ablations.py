"""Put the scores of all ablations of a published task into one table."""

import pandas as pd

from mflens.files.io import read_table, write_markdown, write_table
from mflens.run.job import start_job
from mflens.tasks.ablations import lay_out_ablations, tabulate_ablations

COMPARED = "paired"


def main(scores: list[str], ablations: str, markdown: str, task: str) -> None:
    """Write a row for every ablation, setting, method and metric."""
    table = tabulate_ablations(pd.concat(map(read_table, scores)), COMPARED)
    write_table(ablations, table)
    write_markdown(markdown, lay_out_ablations(table))


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
