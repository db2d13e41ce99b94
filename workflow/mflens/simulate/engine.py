"""PySCo's modules, without those that Newtonian gravity by FFT does not use.

PySCo compiles all its solvers when it is imported, which takes a minute and a half once per
environment. The multigrid and modified-gravity solvers are half of that and are never called here,
so empty modules stand in for them.
"""

import sys
import time
from importlib.util import find_spec
from types import ModuleType

from mflens.errors import DataError

UNUSED = ("multigrid", "laplacian", "laplacian_reformulated", "cubic", "quartic", "mond")

_package = find_spec("pysco")
if _package is None or not _package.submodule_search_locations:
    raise DataError("PySCo is not installed; run pip install -c envs/constraints.txt -e . again.")
# PySCo's modules import each other by their bare names
sys.path.append(_package.submodule_search_locations[0])
for _name in UNUSED:
    sys.modules.setdefault(_name, ModuleType(_name))

_started = time.process_time()
import fourier  # noqa: E402
import initial_conditions  # noqa: E402
import mesh  # noqa: E402
import utils  # noqa: E402

_functions = [
    one for module in (fourier, initial_conditions, mesh, utils) for one in vars(module).values()
]
_compiled = any(one.stats.cache_misses for one in _functions if hasattr(one, "stats"))
# CPU time (s) that compiling took, once per environment
COMPILING_S = time.process_time() - _started if _compiled else 0.0

__all__ = ["COMPILING_S", "fourier", "initial_conditions", "mesh", "utils"]
