"""PySCo's modules and a user's of the same names do not meet."""

import json
import os
import subprocess
import sys

import pytest

from configs import ROOT, resolved_config
from mflens.simulate.mesh import engine

SIM = """
import hashlib, json, sys

# one of the user's is there before, all others are looked for
if sys.argv[2]:
    import utils
path = list(sys.path)
from mflens.benchmarks.cases import MeshSim

sim = MeshSim(0, **json.loads(sys.argv[1]), nside=8, n_shells=3, n_mesh=16)
print(hashlib.sha256(sim.simulate(sim.sims[0])().tobytes()).hexdigest())
assert sys.path == path
for name in sys.argv[2].split():
    module = __import__(name)
    assert module.WHOSE == "the user's", module
names = {"cubic", "fourier", "initial_conditions", "mesh", "mond", "multigrid", "solver", "utils"}
assert sys.argv[2] or not names & set(sys.modules)
"""


@pytest.mark.slow
def test_modules_of_a_user_are_the_users_and_sims_are_the_same(tmp_path):
    config = resolved_config("smoke")
    world = {name: config["simulate"][name] for name in ("mesh", "tiers", "survey")}
    world |= {"theory": config["theory"]}
    for name in (*engine.NAMES, "pysco"):
        (tmp_path / f"{name}.py").write_text('WHOSE = "the user\'s"\n')

    def digest(*folders, names: str = "") -> str:
        paths = os.pathsep.join(map(str, [*folders, ROOT / "workflow"]))
        command = [sys.executable, "-c", SIM, json.dumps(world), names]
        environment = os.environ | {"PYTHONPATH": paths, "NUMBA_NUM_THREADS": "1"}
        return subprocess.check_output(command, env=environment, text=True)

    assert {"fourier", "mesh", "utils"} < engine.NAMES
    names = " ".join(sorted(engine.NAMES))
    assert digest(tmp_path, names=names) == digest()


def test_every_module_of_pysco_finds_the_others():
    for name in engine.NAMES - {"main"}:
        module = engine.load(name)
        assert module.__name__ == f"mflens.simulate.mesh.engine.{name}"
        others = {k: v for k, v in vars(module).items() if k in engine.NAMES}
        assert all(other is engine.load(k) for k, other in others.items())
    assert engine.mesh.utils is engine.utils
