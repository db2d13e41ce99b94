"""Compiled functions give the process that compiles them the numbers that all later ones get."""

import json
import os
import subprocess
import sys

import pytest

from configs import ROOT, resolved_config

# what numba compiles: the projection kernels, the transport of phases, an N-body light cone
DIGESTS = """
import hashlib, json, sys

from mflens.benchmarks.cases import MeshSim

sim = MeshSim(0, **json.loads(sys.argv[1]), nside=8, n_shells=3, n_mesh=16)
for made in (sim.kernels()[0], sim.simulate(sim.sims[0])()):
    print(hashlib.sha256(made.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_compiled_here_or_before_is_the_same_to_the_bit(tmp_path):
    config = resolved_config("smoke")
    world = {name: config["simulate"][name] for name in ("mesh", "tiers", "survey")}
    world |= {"theory": config["theory"]}
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path),
        "NUMBA_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT / "workflow"),
    }
    compiled, loaded = (
        subprocess.check_output(
            [sys.executable, "-c", DIGESTS, json.dumps(world)], env=environment, text=True
        ).split()
        for _ in range(2)
    )
    # the first process did compile
    assert list(tmp_path.glob("pysco*/*.nbc"))
    assert compiled == loaded
