"""Compute spectra with CAMB that train the emulator, or that measure its error."""

from typing import Any

import numpy as np

from mflens.files.io import write_hdf5
from mflens.run.job import start_job
from mflens.theory.emulator.domain import Domain
from mflens.theory.emulator.training import training_spectra, validation_spectra
from mflens.theory.kernels import Shells

STREAMS = ("training", "validation")  # of random numbers: the samples share no cosmology


def main(
    spectra: str,
    parameters: dict[str, Any],
    shells: dict[str, Any],
    k_max: float,
    nonlinear: str,
    n_amplitudes: int,
    sizes: dict[str, int],
    chunk_size: int,
    seed: int,
    sample: str,
    chunk: str,
) -> None:
    """Write the spectra of a chunk of the cosmologies of one sample."""
    domain = Domain.of(parameters, nonlinear)
    theta = domain.draw(sizes[sample], seed, stream=STREAMS.index(sample))
    first = int(chunk) * chunk_size
    common = (domain, Shells(**shells), k_max, nonlinear)
    rows = [
        training_spectra(one, *common, n_amplitudes)
        if sample == "training"
        else validation_spectra(one, *common)
        for one in theta[first : first + chunk_size]
    ]
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    attributes = {"k_unit": "h/Mpc", "power_unit": "(Mpc/h)^3", "parameters": list(domain.free)}
    write_hdf5(spectra, arrays, attributes)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
