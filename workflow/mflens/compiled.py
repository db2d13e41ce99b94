"""Functions that numba compiles, each in a process that computes nothing.

The process that compiles a parallel function does not run the code that all later ones load. numba
optimises the body of a parallel loop, emits it, and optimises it once more as a part of its
function: the cache keeps the second, while the process that compiled has bound the first. Under
`fastmath` the two may add in different orders, with other last digits, as PySCo's seven-point
gradient does on processors with AVX-512. So no process that computes compiles: what the cache lacks
for this processor is compiled by a child process, and then loaded like any other.
"""

import logging
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from numba import njit, types
from numba.core import caching, sigutils

from mflens.errors import DataError

# what the child runs; no import, which would count as code
COMPILER = f"{__package__}.run.compiling"
# the children of two processes may overwrite each other's entries in the index of a function
TRIES = 3
functions: dict[str, Any] = {}  # by module and name
declared: list[tuple[str, Sequence[str]]] = []  # their names, and types that jobs call them with
seconds = 0.0  # CPU time that children of this process took
compiles = False  # whether this process is such a child


def compiled(*kinds: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator like numba's `njit(cache=True)` that leaves compiling to a child process.

    Parameters
    ----------
    kinds
        The types of the arguments that jobs call the function with, as numba writes them, with
        `const` before arrays that cannot be written: `compile_functions` compiles the function for
        them. For others, and without any, it is compiled when it is called.
    options
        numba's.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        made = njit(**options)(function)
        name = f"{function.__module__}.{function.__name__}"
        made._cache = _Cache(function, name)
        functions[name] = made
        if kinds:
            declared.append((name, kinds))
        return made

    return decorate


def fill(chosen: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Load functions for the types given; with that those that the cache lacks are compiled."""
    for name, kinds in chosen:
        functions[name].compile(read_types(kinds))


def read_types(kinds: Sequence[str]) -> tuple[Any, ...]:
    """Return what numba makes of the names of types."""
    plain = ",".join(kind.removeprefix("const ") for kind in kinds)
    found = sigutils.normalize_signature(f"({plain},)")[0]
    return tuple(
        one.copy(readonly=True) if kind.startswith("const ") else one
        for kind, one in zip(kinds, found, strict=True)
    )


def _name(kind: Any) -> str:
    """Return the name of a type, as `read_types` reads it."""
    if isinstance(kind, types.UniTuple):
        return f"UniTuple({kind.dtype}, {kind.count})"
    if not isinstance(kind, types.Array):
        return str(kind)
    axes = [":"] * kind.ndim
    if kind.layout != "A":
        axes[-1 if kind.layout == "C" else 0] = "::1"
    return f"{'' if kind.mutable else 'const '}{kind.dtype}[{','.join(axes)}]"


class _Implementation(caching.CompileResultCacheImpl):
    """Names of files: with the module that a function was imported as, which its code imports."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.module = function.__module__
        super().__init__(function)

    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        return f"{self.module}-{super().get_filename_base(fullname, abiflags)}"


class _Files(caching.FunctionCache):
    _impl_class = _Implementation


class _Cache(caching.NullCache):
    """numba's cache of one function, which a child fills and which touches the disk when needed."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function, self.name = function, name

    @cached_property
    def files(self) -> Any:
        try:
            return _Files(self.function)
        except RuntimeError as error:
            raise DataError(
                f"numba finds no folder for what it compiles of {self.name}; set NUMBA_CACHE_DIR "
                "to one that can be written."
            ) from error

    @property
    def cache_path(self) -> str:
        return self.files.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the function for these types, compiled by a child if the cache lacks it."""
        found = self.files.load_overload(sig, target_context)
        if found is not None or compiles:
            return found
        kinds = list(map(_name, sig))
        for _ in range(TRIES):
            compile_apart(self.name, kinds)
            found = self.files.load_overload(sig, target_context)
            if found is not None:
                return found
        raise DataError(
            f"{self.cache_path} does not keep what numba compiles of {self.name} for "
            f"({', '.join(kinds)}); set NUMBA_CACHE_DIR to a folder that does."
        )

    def save_overload(self, sig: Any, data: Any) -> None:
        self.files.save_overload(sig, data)


def compile_apart(name: str, kinds: Sequence[str]) -> None:
    """Let a child process compile a function for these types (`mflens.run.compiling`).

    Raises
    ------
    DataError
        If it cannot.
    """
    global seconds
    package = str(Path(__file__).parents[1])
    paths = os.pathsep.join(filter(None, [package, os.getenv("PYTHONPATH")]))
    before = _children_s()
    done = subprocess.run(
        [sys.executable, "-P", "-m", COMPILER, name, *kinds],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    took = _children_s() - before
    seconds += took
    if done.returncode:
        said = re.findall(r"^.*\S.*$", done.stderr, re.MULTILINE) or [f"exit {done.returncode}"]
        raise DataError(
            f"numba could not compile {name} for ({', '.join(kinds)}): {said[-1].strip()}"
        )
    logging.info("numba's cache lacked %s for this processor, compiled for %.2f s", name, took)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
