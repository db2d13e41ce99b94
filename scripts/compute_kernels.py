"""Compute the projection kernels of the shells, once for all cosmologies."""

from typing import Any

from mflens.io import write_hdf5
from mflens.job import start_job
from mflens.theory.kernels import Shells, compute_kernels, wavenumbers


def main(
    kernels: str, shells: dict[str, Any], k_max: float, box_mpc_h: float, ell_max: int
) -> None:
    """Write the kernels and their wavenumbers."""
    shape = Shells(**shells)
    k = wavenumbers(shape, k_max, box_mpc_h)
    arrays = {"k": k, "kernels": compute_kernels(shape, k, ell_max)}
    write_hdf5(kernels, arrays, {"k_unit": "h/Mpc", "ell_max": ell_max})


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
