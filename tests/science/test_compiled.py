"""No process that computes compiles, so that the first gets the numbers that all later ones get."""

import json
import os
import subprocess
import sys

import pytest

from configs import ROOT, resolved_config

# what jobs of every tier and of the theory call, and the last digits of what comes out
DIGESTS = """
import hashlib, json, sys
from dataclasses import replace

from mflens import compiled
from mflens.benchmarks.cases import LognormalSim, MeshSim
from mflens.simulate.mesh.lightcone import LightCone
from mflens.simulate.mesh.matching import calibrate, linear_covariance
from mflens.theory.kernels import compute_kernels, wavenumbers
from mflens.theory.spectra import interpolate_log

world = {**json.loads(sys.argv[1]), "nside": 8, "n_shells": 3, "n_mesh": 16}
sim = MeshSim(0, **world)
cosmology, shells, box = sim.cosmology(), sim.sky.shells, sim.sky.mesh
k = wavenumbers(shells, sim.k_max, box.box_mpc_h)
kernels = compute_kernels(shells, k, sim.sky.ell_max)
linear = interpolate_log(cosmology.k, cosmology.linear, k)
covariance, fill = linear_covariance(kernels, k, cosmology.shell_growth, linear, shells, box)
lightcone = LightCone(shells, box, sim.sky.ell_max)
found = {"kernels": kernels, "covariance": covariance, "spectra": cosmology.spectra}
found["whitening"] = calibrate([1, 2], cosmology, lightcone, covariance, fill)
for tier in ("lognormal", "lpt", "particle_mesh"):
    sim.made = sim.tier(tier)
    found[tier] = sim.simulate([replace(sim.sims[0][0], cosmology=lambda: cosmology)])()
misses = sum(sum(one.stats.cache_misses.values()) for one in compiled.functions.values())
digests = {name: hashlib.sha256(made.tobytes()).hexdigest() for name, made in found.items()}
print(json.dumps([digests, misses, compiled.seconds]))
"""
# the rule `compile_functions`
AHEAD = """
from mflens import compiled
from mflens.run.compiling import declared

compiled.fill(declared(pysco=True))
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs code with a cache that starts out empty."""
    config = resolved_config("smoke")
    world = {name: config["simulate"][name] for name in ("mesh", "tiers", "survey")}
    world |= {"theory": config["theory"]}

    def run_with(cache: str, code: str, **settings: str):
        environment = os.environ | {
            "NUMBA_CACHE_DIR": str(tmp_path / cache),
            "NUMBA_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT / "workflow"),
        }
        command = [sys.executable, "-c", code, json.dumps(world)]
        said = subprocess.check_output(command, env=environment | settings, text=True)
        return json.loads(said.splitlines()[-1]) if said else None

    return run_with


@pytest.mark.slow
def test_compiled_ahead_met_or_before_is_the_same_to_the_bit(run, tmp_path):
    run("ahead", AHEAD)
    ahead, misses, seconds = run("ahead", DIGESTS)
    # all that jobs call was compiled
    assert (misses, seconds) == (0, 0.0)
    # two first processes: the environment's, and the one after another has run
    met, misses, seconds = run("met", DIGESTS)
    assert list(tmp_path.glob("met/pysco*/*.nbc"))
    assert misses == 0 and seconds > 0
    again, misses, seconds = run("met", DIGESTS)
    assert (misses, seconds) == (0, 0.0)
    assert ahead == met == again
