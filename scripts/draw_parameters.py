"""Draw the parameters and seeds of all sims."""

from typing import Any

from mflens.design.draw import draw_design, place_sims
from mflens.design.sim_table import read_sim_table
from mflens.files.io import write_table
from mflens.prior import Prior
from mflens.run.job import start_job


def main(
    sim_tables: list[str],
    table: str,
    parameters: dict[str, Any],
    nuisances: dict[str, Any],
    sizes: list[tuple[str, int, int]],
    disk_tiers: list[str],
    disk_splits: dict[str, list[str]],
    seed: int,
) -> None:
    """Write the table of sims: `sim, seed, split, cosmology`, what is free, files on disk."""
    prior = Prior(parameters)
    design = draw_design(prior, sizes, seed, Prior(nuisances))
    if disk_tiers:
        tables = {t: read_sim_table(path) for t, path in zip(disk_tiers, sim_tables, strict=True)}
        # sims on a bound may lie outside by the rounding of their table
        bounds = dict(zip(prior.names, prior.bounds, strict=True))
        tables = {
            tier: table.assign(**{n: table[n].clip(*bounds[n]) for n in prior.names if n in table})
            for tier, table in tables.items()
        }
        design = place_sims(design, tables, disk_splits, prior.names, seed)
    write_table(table, design)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
