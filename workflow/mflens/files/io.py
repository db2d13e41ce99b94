"""File formats: checksummed HDF5, tables, models. Nothing else in the package opens a file.

Every write goes to a temporary name in the same folder and is renamed when complete, so that a
file either exists whole or not at all. In a job it also leaves a record of where the file comes
from (`provenance`), against which files are checked when they are read.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mflens.errors import DataError
from mflens.files.provenance import REMEDY, PathLike, atomic, check_product, provenance
from mflens.problems import line

if TYPE_CHECKING:
    import h5py
    import torch

# what the sims are made of: a NaN here would spread unseen
SKY = ("theta", "maps", "spectra", "convergence", "white_spectra")


def write_hdf5(
    path: PathLike, datasets: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
) -> None:
    """Write arrays and attributes to HDF5, atomically, with a checksum and the provenance.

    Parameters
    ----------
    path
        Target file.
    datasets
        Arrays by name.
    attributes
        File attributes: numbers, strings or lists of them.

    Raises
    ------
    DataError
        If a sim came out as NaN, or the disk is full.
    """
    import h5py

    for name in not_finite({name: datasets[name] for name in SKY if name in datasets}):
        raise DataError(
            f"{path} is not written, as values of '{name}' are not finite; narrow the priors of "
            "theory.parameters or report this config."
        )

    # in memory first: HDF5 itself cannot end its process cleanly on a full disk
    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in datasets.items():
            data = file.create_dataset(name, data=np.ascontiguousarray(array))
            data.attrs["sha256"] = _digest(np.asarray(array))
        for key, value in {**provenance(), **attributes}.items():
            file.attrs[key] = value
        file.attrs["sha256"] = _digest_attributes(dict(file.attrs))
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_hdf5(
    path: PathLike, names: Sequence[str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and attributes written by `write_hdf5` and verify the checksums.

    Raises
    ------
    DataError
        If the file is missing, truncated, changed, holds NaN maps, or lacks one of `names`.
    """
    import h5py

    # before HDF5 sees the file: its library can crash on damaged ones
    check_product(path)
    datasets = {}
    try:
        with h5py.File(path, "r") as file:
            for name in names if names is not None else _dataset_names(file):
                datasets[name] = file[name][()]
                if _digest(datasets[name]) != file[name].attrs["sha256"]:
                    raise DataError(f"{path} is damaged (checksum of '{name}' differs); {REMEDY}.")
            attributes = dict(file.attrs)
        for name in not_finite({name: datasets[name] for name in SKY if name in datasets}):
            raise DataError(f"{path} holds values of '{name}' that are not finite; {REMEDY}.")
        if attributes.pop("sha256") != _digest_attributes(attributes):
            raise DataError(f"{path} is damaged (checksum of attributes differs); {REMEDY}.")
    except (DataError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise anything in h5py
        raise DataError(f"{path} is truncated or damaged ({line(error)}); {REMEDY}.") from error
    return datasets, attributes


def read_groups(path: PathLike) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """Read the arrays that are named `<group>/<name>`, by group and name, and the attributes.

    Raises
    ------
    DataError
        As `read_hdf5`.
    """
    datasets, attributes = read_hdf5(path)
    groups: dict[str, dict[str, np.ndarray]] = {}
    for key, array in datasets.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = array
    return groups, attributes


def read_chunks(paths: Sequence[PathLike], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the chunks of one tier and split and join them by `sim`.

    Parameters
    ----------
    paths
        Chunk files.
    names
        Datasets wanted; `pixel` is the same in every chunk and comes back once.

    Returns
    -------
    dict
        `sim` (ascending) and the wanted arrays, first axis over the sims of all chunks.

    Raises
    ------
    DataError
        If a chunk is broken, holds NaN, lacks a sim, repeats a sim of another, or has other pixels.
    """
    numbers = [read_hdf5(path, ["sim"])[0]["sim"] for path in paths]
    for path, sims in zip(paths, numbers, strict=True):
        for gap in np.flatnonzero(np.diff(np.sort(sims)) > 1)[:1]:
            lost = np.sort(sims)[gap] + 1
            raise DataError(f"{path} lacks sim {lost} between its others; {REMEDY}.")
    sim = np.sort(np.concatenate(numbers))
    repeated = sim[1:][np.diff(sim) == 0]
    if repeated.size:
        raise DataError(
            f"sim {repeated[0]} stands in more than one of {', '.join(map(str, paths))}; "
            "delete these files and run snakemake again."
        )
    joined = {"sim": sim}
    # one chunk at a time: the maps of a survey fill most of a machine's memory
    for path, sims in zip(paths, numbers, strict=True):
        chunk = read_hdf5(path, names)[0]
        for name in not_finite(chunk):
            raise DataError(f"{path} holds values of '{name}' that are not finite; {REMEDY}.")
        rows = np.searchsorted(sim, sims)
        for name, values in chunk.items():
            if name == "pixel":
                if not np.array_equal(joined.setdefault(name, values), values):
                    raise DataError(
                        f"the footprints of {', '.join(map(str, paths))} differ; "
                        "delete these files and run snakemake again."
                    )
            elif name != "sim":
                if name not in joined:
                    joined[name] = np.empty((sim.size, *values.shape[1:]), values.dtype)
                joined[name][rows] = values
    return joined


def write_table(path: PathLike, frame: pd.DataFrame) -> None:
    """Write a table as CSV."""
    with atomic(path) as temporary:
        frame.to_csv(temporary, index=False)


def write_markdown(path: PathLike, frame: pd.DataFrame) -> None:
    """Write a table as Markdown, floats with four significant digits."""
    rows = [list(frame.columns), ["---"] * frame.shape[1]]
    for row in frame.itertuples(index=False):
        rows.append([f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row])
    with atomic(path) as temporary:
        temporary.write_text("".join("| " + " | ".join(row) + " |\n" for row in rows))


def read_table(path: PathLike) -> pd.DataFrame:
    """Read a CSV table.

    Raises
    ------
    DataError
        If the file is missing or is not a table.
    """
    check_product(path)
    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table ({line(error)}); {REMEDY}.") from error


def write_json(path: PathLike, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically, keys sorted: an order that matters needs a list of its own."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_json(path: PathLike) -> dict[str, Any]:
    """Read a JSON file.

    Raises
    ------
    DataError
        If the file is missing or is not JSON.
    """
    check_product(path)
    try:
        content = json.loads(Path(path).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({line(error)}); {REMEDY}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no mapping; {REMEDY}.")
    return content


def save_model(path: PathLike, state: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Write tensors and the JSON-able arguments that rebuild the module they belong to."""
    import torch

    content = {"state": dict(state), "arguments": json.dumps(arguments)}
    # an archive that is not named after the file has the same bytes under any name
    with atomic(path) as temporary, open(temporary, "wb") as file:
        torch.save({**content, "provenance": json.dumps(provenance())}, file)


def load_model(path: PathLike) -> tuple[dict[str, "torch.Tensor | Any"], dict[str, Any]]:
    """Read what `save_model` wrote; only tensors and text are accepted, never pickled code.

    Raises
    ------
    DataError
        If the file is missing or broken.
    """
    import torch

    check_product(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return content["state"], json.loads(content["arguments"])
    except Exception as error:  # a damaged archive can raise anything in torch
        raise DataError(f"{path} is not a whole mflens model; {REMEDY}.") from error


def _dataset_names(file: "h5py.File") -> list[str]:
    """Return the names of all datasets, `<group>/<name>` in groups."""
    names: list[str] = []
    file.visititems(lambda name, entry: names.append(name) if hasattr(entry, "shape") else None)
    return names


def not_finite(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of the arrays that hold NaN or infinity."""
    real = {name: array for name, array in arrays.items() if np.issubdtype(array.dtype, np.inexact)}
    return [name for name, array in real.items() if not np.isfinite(array).all()]


def _digest(array: np.ndarray) -> str:
    identity = f"{array.dtype.str} {array.shape} ".encode()
    found = hashlib.sha256(identity)
    # not copied: maps can be large
    found.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return found.hexdigest()


def _digest_attributes(attributes: Mapping[str, Any]) -> str:
    plain = {name: np.asarray(value).tolist() for name, value in attributes.items()}
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()
