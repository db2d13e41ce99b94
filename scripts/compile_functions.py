"""Compile numba's functions ahead, so that the jobs that compute find them in numba's cache."""

import pandas as pd

from mflens import compiled
from mflens.files.io import write_table
from mflens.run.compiling import declared
from mflens.run.job import start_job


def main(functions: str, pysco: bool) -> None:
    """Write `function, types` of all that is compiled."""
    chosen = declared(pysco)
    compiled.fill(chosen)
    rows = [(name, "; ".join(kinds)) for name, kinds in chosen]
    write_table(functions, pd.DataFrame(rows, columns=["function", "types"]))


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
