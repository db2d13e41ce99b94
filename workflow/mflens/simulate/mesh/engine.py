"""PySCo's modules, under names of their own.

PySCo's modules import each other by names that are anyone's (`utils`, `mesh`). Here they are
submodules of this one, and what they import by such a name is the module of that name beside them:
no module of a user takes their place, and none of them that of a user's. PySCo has all of its
functions compiled when it is imported; here `mflens.compiled` does that, of those that are called.
"""

import builtins
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numba

from mflens.compiled import compiled, declared
from mflens.errors import DataError

# what sims call of which module, and the types of the arguments
CALLED = (
    ("fourier", "inverse_laplacian", "c8[:,:,::1]"),
    ("fourier", "inverse_laplacian_compensated", "c8[:,:,::1]", "i8"),
    ("fourier", "gradient", "c8[:,:,::1]"),
    ("fourier", "hessian", "c8[:,:,::1]", "UniTuple(i8, 2)"),
    ("fourier", "sum_of_hessian", "c8[:,:,::1]", "UniTuple(i8, 2)", "UniTuple(i8, 2)"),
    ("initial_conditions", "initialise_1LPT_edge", "f4[:,:,:,::1]", "f4", "f4"),
    ("initial_conditions", "add_nLPT", *["f4[:,:,:,::1]"] * 3, "f4", "f4"),
    ("mesh", "derivative7", "f4[:,:,::1]"),
    ("utils", "periodic_wrap", "f4[:,::1]"),
    ("utils", "add_vector_scalar_inplace", "f4[:,::1]", "f4[:,::1]", "f4"),
    ("utils", "add_vector_vector_inplace", "f4[:,:,::1]", "f4", "f4[:,:,::1]", "f4[:,:,::1]"),
    ("utils", "prod_vector_vector_inplace", "f4[:,:,::1]", "f4[:,:,::1]"),
    ("utils", "injection", "c8[:,:,::1]", "c8[:,:,::1]"),
    ("utils", "injection", "f4[:,:,::1]", "f4[:,:,::1]"),
    ("utils", "injection_to_gradient", "f4[:,:,:,::1]", "f4[:,:,::1]", "i8"),
    ("utils", "injection_from_gradient", "c8[:,:,::1]", "c8[:,:,:,::1]", "i8"),
)


def _folder() -> Path:
    try:
        return Path(str(distribution("pysco-nbody").locate_file("pysco")))
    except PackageNotFoundError:
        raise DataError(
            "PySCo is not installed; run pip install -c envs/constraints.txt -e . again."
        ) from None


FOLDER = _folder()
NAMES = {path.stem for path in FOLDER.glob("[!_]*.py")}


def load(name: str) -> ModuleType:
    """Return a module of PySCo."""
    full = f"{__name__}.{name}"
    if full not in sys.modules:
        spec = spec_from_file_location(full, FOLDER / f"{name}.py")
        if spec is None or spec.loader is None:
            raise DataError(f"{FOLDER / name}.py is not PySCo's; install pysco-nbody again.")
        module = module_from_spec(spec)
        # import statements of a module call what its own builtins name
        vars(module)["__builtins__"] = vars(builtins) | {"__import__": _import}
        sys.modules[full] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[full]
            raise
    return sys.modules[full]


def _import(
    name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
) -> ModuleType:
    """Import for PySCo's modules: each other, numba with our decorator, and all else as usual."""
    if level == 0 and name in NAMES:
        return load(name)
    if name == "numba" and fromlist:
        return NUMBA
    return builtins.__import__(name, globals, locals, fromlist, level)


def _njit(types: Any = (), *, cache: bool = True, **options: Any) -> Any:
    """Return numba's decorator as PySCo uses it, for the types that a function is called with."""
    return compiled(**options)


NUMBA = ModuleType("numba")
vars(NUMBA).update(vars(numba), njit=_njit)

fourier = load("fourier")
initial_conditions = load("initial_conditions")
mesh = load("mesh")
utils = load("utils")

declared.extend((f"{__name__}.{module}.{name}", types) for module, name, *types in CALLED)
