"""Plan how many sims of every level a budget should buy, and compare with published numbers."""

import logging

from mflens.files.io import read_table, write_markdown, write_table
from mflens.run.job import start_job
from mflens.tasks.allocation import tabulate_allocations


def main(
    levels: str,
    allocation: str,
    markdown: str,
    allocations: dict[str, list[int]],
    n_folds: int,
    task: str,
) -> None:
    """Write and log what is planned and what is expected of it."""
    # a fold for validation wants two sims
    table = tabulate_allocations(read_table(levels), allocations, least=2 * n_folds)
    logging.info("planned numbers of sims:\n%s", table.to_string(index=False))
    logging.info("this is the error of the loss at given weights, not the risk of what is learned")
    write_table(allocation, table)
    write_markdown(markdown, table)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
