"""Compute the projection kernels of the shells, once for all cosmologies."""

from typing import Any

from mflens.files.io import write_hdf5
from mflens.run.job import start_job
from mflens.theory.kernels import Shells, compute_kernels, node_wavenumbers, wavenumbers
from mflens.theory.spectra import compress_kernels


def main(
    kernels: str, shells: dict[str, Any], k_max: float, box_mpc_h: float, ell_max: int
) -> None:
    """Write the kernels on their wavenumbers, and compressed to a few nodes."""
    shape = Shells(**shells)
    k = wavenumbers(shape, k_max, box_mpc_h)
    nodes = node_wavenumbers(k)
    full = compute_kernels(shape, k, ell_max)
    weights = compress_kernels(full, k, nodes)
    arrays = {"k": k, "kernels": full, "nodes": nodes, "weights": weights}
    write_hdf5(kernels, arrays, {"k_unit": "h/Mpc", "ell_max": ell_max})


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
