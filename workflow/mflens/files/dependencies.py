"""Fingerprints of scripts with the package code they use and of a user's files.

An edit of either re-runs what it changes; comments, docstrings and layout of code do not count.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def fingerprint(
    script: str | Path, classes: Iterable[str] = (), files: Iterable[str | Path] = ()
) -> str:
    """Return a hash of the code of a script and of all mflens modules it imports.

    Parameters
    ----------
    script
        Path of the script.
    classes
        Importable names of further classes (the config's tiers) whose modules count.
    files
        Files of the user's that count by their content.
    """
    pending = [Path(script), *_sources(classes)]
    seen: dict[Path, str] = {}
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen[path], names = _read(path.read_text())
        pending.extend(file for name in names for file in _module_files(name))
    digest = hashlib.sha256()
    for code in sorted(seen.values()):
        digest.update(code.encode())
    for file in files:
        digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
    return digest.hexdigest()[:16]


@cache
def _read(source: str) -> tuple[str, frozenset[str]]:
    """Return what counts of a module's code, and the names in imports and, dotted, in strings."""
    tree = _without_docstrings(ast.parse(source))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # tiers are named by strings such as "mflens.simulate.lognormal.tier.Lognormal"
            names |= {node.value, node.value.rpartition(".")[0]}
    return ast.dump(tree), frozenset(names)


def _module_files(name: str) -> Iterator[Path]:
    parts = name.split(".")
    if parts[0] != "mflens" or not all(part.isidentifier() for part in parts):
        return
    target = PACKAGE.joinpath(*parts[1:])
    for candidate in (target.with_suffix(".py"), target / "__init__.py"):
        if candidate.is_file():
            yield candidate


def _sources(classes: Iterable[str]) -> Iterator[Path]:
    for name in classes:
        try:
            spec = find_spec(name.rpartition(".")[0])
        except (ImportError, ValueError):
            spec = None
        if spec is not None and spec.origin:
            yield Path(spec.origin)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return tree
