"""Calibrate the seed matching on linear projections, once per mesh, box and resolution."""

from typing import Any

import numpy as np

from mflens.files.io import read_hdf5, write_hdf5
from mflens.prior import Prior
from mflens.run.job import start_job
from mflens.simulate.mesh.lightcone import LightCone, Mesh
from mflens.simulate.mesh.matching import calibrate, linear_covariance
from mflens.theory.cosmology import make_cosmology
from mflens.theory.kernels import Shells
from mflens.theory.spectra import interpolate_log


def main(
    kernels: str,
    whitening: str,
    parameters: dict[str, Any],
    shells: dict[str, Any],
    mesh: dict[str, Any],
    n_calibration: int,
    nonlinear: str,
    seed: int,
) -> None:
    """Write the variance of whitened coefficients at the prior's median cosmology."""
    prior = Prior(parameters)
    shape = Shells(**shells)
    box = Mesh(**mesh)
    arrays, attributes = read_hdf5(kernels)
    ell_max = int(attributes["ell_max"])
    median = prior.complete(prior.from_unit(np.full((1, len(prior.names)), 0.5))[0])
    cosmology = make_cosmology(0, median, shape, arrays["weights"], arrays["nodes"], nonlinear)
    linear = interpolate_log(cosmology.k, cosmology.linear, arrays["k"])
    covariance, fill = linear_covariance(
        arrays["kernels"], arrays["k"], cosmology.shell_growth, linear, shape, box
    )
    children = np.random.SeedSequence(seed).spawn(n_calibration)
    seeds = [int(child.generate_state(1)[0]) for child in children]
    lightcone = LightCone(shape, box, ell_max)
    variance = calibrate(seeds, cosmology, lightcone, covariance, fill)
    write_hdf5(whitening, {"variance": variance}, {"n_calibration": n_calibration})


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
