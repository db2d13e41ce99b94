"""What is compiled ahead, and that no function is compiled where something is computed."""

import ast
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numba import typeof

from configs import ROOT
from jobs import job
from mflens import compiled
from mflens.errors import DataError
from mflens.files import provenance
from mflens.files.io import write_table
from mflens.run.compiling import declared
from mflens.run.plan import Plan
from mflens.theory import growth

PACKAGE = ROOT / "workflow/mflens"


def decorators(path):
    """Yield the decorators that make numba compile a function, by its name."""
    for node in ast.walk(ast.parse(path.read_text())):
        for one in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            text = ast.unparse(one)
            if text.startswith(("njit", "numba.", "jit", "compiled", "vectorize", "guvectorize")):
                yield node.name, text


def test_every_function_is_compiled_apart():
    """But those that numba puts into the functions that call them."""
    found = [(p, *one) for p in PACKAGE.rglob("*.py") for one in decorators(p)]
    assert len(found) > 12
    for path, name, text in found:
        assert text == "njit(inline='always')" or text.startswith("compiled("), (path, name)


def test_every_function_that_names_its_types_is_compiled_ahead():
    ahead = {name for name, _ in declared(pysco=True)}
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for name, text in decorators(path):
            if text.startswith(("compiled('", "compiled(\n")):
                assert f"{module}.{name}" in ahead
    assert "mflens.simulate.mesh.engine.mesh.derivative7" in ahead
    assert ahead <= set(compiled.functions)


@pytest.mark.parametrize(
    "made",
    [
        np.zeros((2, 3)), np.zeros((2, 3)).T, np.zeros((4, 4))[::2, ::2], np.zeros(3, np.complex64),
        np.broadcast_to(np.arange(3), (2, 3)), 1, 2.5, np.float32(1), np.int16(1), True, (1, 2),
    ],
)  # fmt: skip
def test_names_of_types_are_read_as_the_types(made):
    kind = typeof(made)
    assert compiled.read_types([compiled._name(kind)]) == (kind,)


ONCE = """
import numpy as np

from mflens import compiled
from mflens.theory.growth import _integrate

start, friction, source = np.ones(4), np.linspace(0.1, 0.2, 9), np.linspace(1.5, 1.0, 9)
y = _integrate(start, np.repeat(friction, 2)[::2], source, 0.1)
assert sum(_integrate.stats.cache_misses.values()) == 0
print(compiled.seconds > 0, y.sum().hex())
"""


def test_types_that_nobody_named_are_compiled_apart(tmp_path):
    """A strided array, as no job has it."""
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(PACKAGE.parent),
    }  # fmt: skip
    said = [
        subprocess.check_output([sys.executable, "-c", ONCE], env=environment, text=True).split()
        for _ in range(2)
    ]
    friction, source = np.linspace(0.1, 0.2, 9), np.linspace(1.5, 1.0, 9)
    expected = growth._integrate.py_func(np.ones(4), friction, source, 0.1).sum()
    assert [one[0] for one in said] == ["True", "False"]
    assert said[0][1] == said[1][1]
    assert float.fromhex(said[0][1]) == pytest.approx(expected, rel=1e-12)


def test_what_cannot_be_compiled_is_one_sentence():
    with pytest.raises(DataError, match="could not compile nobody.knows for"):
        compiled.compile_apart("nobody.knows", ["f8"])


def test_only_sims_that_share_a_mesh_wait_for_the_calibration(config):
    plan = Plan(config)

    def inputs(split, tier):
        return plan.whitening(SimpleNamespace(split=split, tier=tier))

    assert plan.needs_mesh
    assert inputs("test", "particle_mesh") == {}
    assert inputs("bulk", "lognormal") == {}
    for tier in ("lognormal", "particle_mesh"):
        assert "whitening" in inputs("pairs_particle_mesh", tier)


def test_products_do_not_come_from_what_was_compiled(tmp_path):
    """Else another list of functions would make all products stale."""
    table, drawn = tmp_path / "compile_functions/functions.csv", tmp_path / "draw/parameters.csv"
    for rule, path in (("compile_functions", table), ("draw_parameters", drawn)):
        with job(tmp_path, rule):
            write_table(path, pd.DataFrame({"x": [1]}))
    assert set(provenance.checksums(tmp_path, [table, drawn])) == {"draw/parameters.csv"}
