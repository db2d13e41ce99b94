"""Sum up what every rule and tier cost."""

from mflens.cost import summarise_cost
from mflens.io import read_benchmarks, write_markdown, write_table
from mflens.job import start_job


def main(
    simulations: list[str],
    training: list[str],
    others: list[str],
    cost: str,
    markdown: str,
    threads: dict[str, int],
) -> None:
    """Write `rule, tier, jobs, core_s, max_rss_mb`."""
    table = summarise_cost(read_benchmarks([*simulations, *training, *others], threads))
    write_table(cost, table)
    write_markdown(markdown, table)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
