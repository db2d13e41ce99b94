"""Fixtures of the physics tests: one cosmology on the default light cone."""

from types import SimpleNamespace

import numpy as np
import pytest

from mflens.simulate import harmonics
from mflens.simulate.chunk import Matching, Sim, make_draw
from mflens.simulate.mesh.lightcone import LightCone, Mesh
from mflens.simulate.mesh.matching import (
    calibrate,
    linear_colour,
    linear_covariance,
)
from mflens.simulate.survey.line_of_sight import line_of_sight
from mflens.simulate.survey.response import matter_along
from mflens.simulate.survey.survey import make_survey
from mflens.simulate.tiers import Sky, make_tier
from mflens.theory.cosmology import make_cosmology
from mflens.theory.kernels import Shells, compute_kernels, node_wavenumbers, wavenumbers
from mflens.theory.spectra import compress_kernels, interpolate_log

NSIDE, ELL_MAX = 64, 128
OPTIONS = {
    "lognormal": {"shift": 1.0, "n_correlated": 3},
    "lpt": {"order": 2},
    "particle_mesh": {"z_start": 9.0, "max_step_ln_a": 0.15},
}
SURVEY = {
    "redshifts": {
        "kind": "smail", "z_0": 0.64, "alpha": 2.0, "beta": 1.5, "sigma_z": 0.05, "z_max": 1.5,
        "edges": [0.0, 0.7, 1.5],
    },
    "n_gal_arcmin2": [5.0, 5.0], "sigma_e": 0.26, "mask": "octant",
    "noise": "gaussian", "source_bias": 0.0, "min_coverage": 0.5,
}  # fmt: skip


@pytest.fixture(scope="session")
def world():
    """The default run's light cone, survey and tiers at one cosmology."""
    shells, mesh = Shells(17, 200.0), Mesh(64, 1000.0, 128)
    k = wavenumbers(shells, 5.0, mesh.box_mpc_h)
    kernels, nodes = compute_kernels(shells, k, ELL_MAX), node_wavenumbers(k)
    weights = compress_kernels(kernels, k, nodes)
    parameters = {
        "Omega_m": 0.3, "sigma_8": 0.8, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0
    }  # fmt: skip
    cosmology = make_cosmology(0, parameters, shells, weights, nodes, "mead2020")
    sky = Sky(shells, NSIDE, ELL_MAX, mesh)
    linear = interpolate_log(cosmology.k, cosmology.linear, k)
    covariance, fill = linear_covariance(kernels, k, cosmology.shell_growth, linear, shells, mesh)
    sight, survey = line_of_sight(shells, cosmology), make_survey(SURVEY, NSIDE)
    matter = matter_along(sight, cosmology)
    return SimpleNamespace(
        shells=shells, mesh=mesh, k=k, kernels=kernels, cosmology=cosmology, sky=sky,
        survey=survey, covariance=covariance, fill=fill,
        response=survey.source_planes(sight, cosmology.background, parameters, matter).response,
        lightcone=LightCone(shells, mesh, ELL_MAX), n_calibration=24,
        colour=linear_colour(mesh, cosmology.k, cosmology.linear),
        tiers={name: make_tier(name, options, sky) for name, options in OPTIONS.items()},
    )  # fmt: skip


@pytest.fixture(scope="session")
def variance(world):
    """Calibration of the seed matching from draws that no test uses."""
    seeds = range(900, 900 + world.n_calibration)
    return calibrate(seeds, world.cosmology, world.lightcone, world.covariance, world.fill)


@pytest.fixture(scope="session")
def convergence_of(world, variance):
    """Return a function of (tier, seed, matched): harmonic coefficients of the convergence."""
    matching = Matching(world.covariance, world.fill, variance)
    memory = {}

    def compute(tier, seed, matched=True):
        if (tier, seed, matched) not in memory:
            sim = Sim(seed, seed, lambda: world.cosmology, matching if matched else None)
            draw = make_draw(sim, world.cosmology, world.sky, world.lightcone)
            shells = world.tiers[tier].density_shells(world.cosmology, draw)
            kappa = world.response @ np.stack(list(shells))
            memory[tier, seed, matched] = np.stack(
                [harmonics.analyse(one, ELL_MAX) for one in kappa]
            )
        return memory[tier, seed, matched]

    return compute
