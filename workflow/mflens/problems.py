"""What the checks of the config share: ranges of priors, folders, and problems that recur."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

AUTO = "auto"  # value of a key that follows from others


def is_normal(entry: Any) -> bool:
    """Say whether an entry is a normal prior."""
    return isinstance(entry, Mapping) and entry["prior"] == "normal"


def empty_prior(key: str, entry: Any) -> Iterator[str]:
    """Yield the problem of a prior without width."""
    if isinstance(entry, Mapping) and entry["prior"] == "uniform" and entry["min"] >= entry["max"]:
        yield f"{key}: min {entry['min']} is not below max {entry['max']}; swap or move them."
    if is_normal(entry) and entry["sd"] <= 0:
        yield f"{key}.sd: {entry['sd']} is not positive; give the standard deviation."


def repeated(key: str, values: Sequence[Any]) -> Iterator[str]:
    """Yield a problem for each entry that stands in a list more than once."""
    for value in values:
        if values.count(value) > 1:
            yield f"{key}: {value!r} stands in {list(values)} more than once; remove the repeats."


def not_increasing(key: str, edges: Sequence[float]) -> Iterator[str]:
    """Yield a problem for each two neighbours that do not increase."""
    for low, high in pairwise(edges):
        if low >= high:
            yield f"{key}: {list(edges)} does not increase from {low} to {high}; sort the edges."


def no_folder(folder: str) -> Iterator[str]:
    """Yield what stands in the way of a folder of results: a file, or a link to nothing."""
    key = f"results_dir: '{folder}'"
    # the nearest part of the path that is there, links to nothing included
    path = next(p for p in (Path(folder), *Path(folder).parents) if os.path.lexists(p))
    if path.is_dir():
        return
    remedy = "name another folder or remove it"
    below = "is" if path == Path(folder) else f"lies below '{path}', which is"
    try:
        target = path.resolve(strict=True)
    except FileNotFoundError:
        yield (
            f"{key} {below} a link to '{os.readlink(path)}', which does not exist; make that "
            f"folder, {remedy}."
        )
    except (
        OSError,
        RuntimeError,
    ) as error:  # links in a circle; of Python before 3.13 RuntimeError
        yield f"{key} {below} a link that cannot be followed ({error.args[-1]}); {remedy}."
    else:
        kind = f"a link to the file '{target}'" if path.is_symlink() else "a file"
        yield f"{key} {below} {kind}; {remedy}."


def line(error: BaseException) -> str:
    """Return an error of another library as a short line without a final stop."""
    return " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
