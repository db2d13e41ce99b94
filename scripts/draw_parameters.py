"""Draw the parameters and seeds of all sims."""

from typing import Any

from mflens.io import write_table
from mflens.job import start_job
from mflens.prior import Prior
from mflens.theory.design import draw_design


def main(
    table: str,
    parameters: dict[str, Any],
    nuisances: dict[str, Any],
    sizes: list[tuple[str, int, int]],
    seed: int,
) -> None:
    """Write the table of sims: `sim, seed, split, cosmology`, free parameters and nuisances."""
    write_table(table, draw_design(Prior(parameters), sizes, seed, Prior(nuisances)))


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
