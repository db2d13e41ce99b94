"""Compute power and shell spectra of the cosmologies of a chunk, with CAMB or its emulator."""

import json
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from mflens.files.io import load_model, read_hdf5, read_table, write_hdf5
from mflens.prior import Prior
from mflens.run.job import start_job
from mflens.simulate.mesh.lightcone import Mesh
from mflens.simulate.mesh.matching import linear_covariance
from mflens.theory.cosmology import make_cosmology
from mflens.theory.kernels import Shells
from mflens.theory.spectra import interpolate_log

if TYPE_CHECKING:
    from mflens.theory.emulator.networks import Emulator


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
    emulator: str | None = None,
) -> None:
    """Write the theory of the chunk's cosmologies; with `mesh`, also what seed matching needs."""
    emulated = read_emulator(emulator) if emulator else None
    prior = Prior(parameters)
    shape = Shells(**shells)
    box = Mesh(**mesh) if mesh else None
    names = ["nodes", "weights", *(["k", "kernels"] if box else [])]
    arrays, _ = read_hdf5(kernels, names)
    sims = read_table(table).query("split == @split").iloc[first:last]
    rows: dict[str, list[Any]] = {}
    for number, theta in sims.groupby("cosmology")[prior.names].first().iterrows():
        cosmology = make_cosmology(
            number,
            prior.complete(theta),
            shape,
            arrays["weights"],
            arrays["nodes"],
            nonlinear,
            emulated.power if emulated else None,
        )
        row = {
            "cosmology": number,
            "theta": theta.to_numpy(),
            "linear": cosmology.linear,
            "nonlinear": cosmology.nonlinear.astype(np.float32),
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
    attributes = {
        "k_unit": "h/Mpc", "power_unit": "(Mpc/h)^3", "split": split,
        "power": "emulator" if emulated else "camb",
        "emulator_error_percent": json.dumps(emulated.accuracy if emulated else {}),
    }  # fmt: skip
    write_hdf5(spectra, datasets, attributes)


def read_emulator(path: str) -> "Emulator":
    """Read an emulator; torch, which takes seconds, is imported only for that."""
    from mflens.theory.emulator.networks import Emulator

    return Emulator.from_state(*load_model(path))


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
