"""Compute power and shell spectra of the cosmologies of a chunk: CAMB once per cosmology."""

import logging
from typing import Any

import numpy as np

from mflens.io import read_hdf5, read_table, write_hdf5
from mflens.job import start_job
from mflens.prior import Prior
from mflens.simulate.lightcone import Mesh
from mflens.simulate.matching import linear_covariance
from mflens.theory.cosmology import make_cosmology
from mflens.theory.kernels import Shells
from mflens.theory.spectra import interpolate_log


def main(
    table: str,
    kernels: str,
    spectra: str,
    parameters: dict[str, Any],
    shells: dict[str, Any],
    mesh: dict[str, Any] | None,
    nonlinear: str,
    first: int,
    last: int,
    split: str,
    chunk: str,
) -> None:
    """Write the theory of the chunk's cosmologies; with `mesh`, also what seed matching needs."""
    prior = Prior(parameters)
    shape = Shells(**shells)
    box = Mesh(**mesh) if mesh else None
    names = ["nodes", "weights", *(["k", "kernels"] if box else [])]
    arrays, _ = read_hdf5(kernels, names)
    sims = read_table(table).query("split == @split").iloc[first:last]
    rows: dict[str, list[Any]] = {}
    for number, theta in sims.groupby("cosmology")[prior.names].first().iterrows():
        cosmology = make_cosmology(
            number, prior.complete(theta), shape, arrays["weights"], arrays["nodes"], nonlinear
        )
        row = {
            "cosmology": number,
            "theta": theta.to_numpy(),
            "linear": cosmology.linear,
            "spectra": cosmology.spectra,
        }
        if box is not None:
            linear = interpolate_log(cosmology.k, cosmology.linear, arrays["k"])
            row["covariance"], row["fill"] = linear_covariance(
                arrays["kernels"], arrays["k"], cosmology.shell_growth, linear, shape, box
            )
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    logging.info("%s, chunk %s: %d cosmologies", split, chunk, len(rows["cosmology"]))
    datasets = {name: np.stack(values) for name, values in rows.items()}
    datasets["k"] = cosmology.k
    write_hdf5(spectra, datasets, {"k_unit": "h/Mpc", "power_unit": "(Mpc/h)^3", "split": split})


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
