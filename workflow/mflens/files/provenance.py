"""Where every product comes from: what its bytes carry, and a record beside the products.

The record of `<results>/<rule>/x.csv` is `<results>/provenance/<rule>/x.csv.json`: its checksum,
and the config, code, inputs, seed and versions that made it. Neither says when, where or on how
many threads, so equal runs leave equal bytes.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mflens import __version__
from mflens.errors import DataError
from mflens.files.commit import commit_of

PathLike = str | os.PathLike[str]
Record = dict[str, Any]

DESCRIPTIONS = "described"  # where in the config captions find what they say

SCRIPTS = Path(__file__).parents[3] / "scripts"
# libraries that values depend on, to the modules by which a process is known to have loaded them
LIBRARIES = {
    "glass": "glass", "healpy": "healpy", "ducc0": "ducc0", "camb": "camb",
    # PySCo's modules have names of their own; this one loads them
    "pysco-nbody": "mflens.simulate.mesh.engine",
    "pyfftw": "pyfftw", "numba": "numba", "llvmlite": "llvmlite", "numpy": "numpy",
    "scipy": "scipy",
    "torch": "torch", "zuko": "zuko", "sbi": "sbi",
}  # fmt: skip
NO_SOURCES = {"compile_functions"}  # jobs wait for them and take nothing from them
FOLDER = "provenance"  # of the records, below the results
RUN_CONFIG = "run.yaml"
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
BLOCK = 4096  # bytes
ROOM = "make room on this disk or make it writable, and run snakemake again"
REMEDY = "delete it and run snakemake again to make it anew"


@dataclass(frozen=True)
class Job:
    """What the products of one job share.

    Attributes
    ----------
    results
        Folder of all results.
    outputs
        What Snakemake knows as the job's output: files and folders.
    record
        What is the same in the records of all its products.
    """

    results: Path
    outputs: tuple[Path, ...]
    record: Record = field(default_factory=dict)

    def output_of(self, path: Path) -> Path:
        """Return the output that a file is or lies in."""
        return next((out for out in self.outputs if out in (path, *path.parents)), path)


current: list[Job] = []  # the job that this process runs, none in tests and notebooks
checked: set[tuple[str, int, int, int]] = set()  # files that this process found to be whole


@cache
def origin() -> dict[str, str]:
    """Return git commit and package versions."""
    versions = {"mflens": __version__}
    for package in LIBRARIES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {"git_commit": commit_of(Path(__file__).resolve()), "versions": json.dumps(versions)}


def loaded_libraries() -> list[str]:
    """Return the libraries that this process has loaded, of those that values depend on."""
    return [library for library, module in LIBRARIES.items() if module in sys.modules]


def changed_library(record: Record) -> str:
    """Say which library that made a product has another version now, or nothing.

    Builds of one version, such as torch's with and without CUDA, count as the same.
    """
    versions = json.loads(origin()["versions"])
    for library in record.get("libraries", []):
        made, now = record["versions"][library], versions.get(library, "not installed")
        if made.partition("+")[0] != now.partition("+")[0]:
            return f"made with {library} {made}, which is {now} now"
    return ""


def provenance() -> dict[str, Any]:
    """Return what the bytes of a product carry; config and seed only inside a job.

    `config_hash` is that of what the job takes from the config: a change elsewhere in the config
    leaves the product what it is.
    """
    job = {k: current[-1].record[k] for k in ("config_hash", "seed")} if current else {}
    return {**origin(), **job}


def hash_of(content: Any) -> str:
    """Return a hash of nested values in their order; entries that are None count as not given."""
    text = json.dumps(_without_none(content), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_of_config(config: Mapping[str, Any]) -> str:
    """Return the hash of a whole config, wherever its results are put and however described."""
    apart = ("results_dir", DESCRIPTIONS)
    return hash_of({key: value for key, value in config.items() if key not in apart})


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(entry) for entry in value]
    return value


def start_record(
    snakemake: Any, describe: Callable[[str, Mapping[str, Any]], Record] = lambda *_: {}
) -> None:
    """Let all products that this process writes from now on be recorded as those of a job.

    Parameters
    ----------
    snakemake
        The object that Snakemake gives to a script; its first param is the code's fingerprint.
    describe
        Returns what else is recorded of a rule and config.
    """
    config, results = snakemake.config, Path(snakemake.config["results_dir"])
    settings = dict(snakemake.params.items())
    wildcards = dict(snakemake.wildcards.items())
    rule = rule_of_script() or snakemake.rule
    record = {
        "rule": rule,
        "wildcards": wildcards,
        "config_hash": hash_of([rule, wildcards, settings]),
        "run_config_hash": hash_of_config(config),
        "code": next(iter(snakemake.params), ""),
        "seed": config["seed"],
        "inputs": checksums(results, map(Path, snakemake.input)),
        "git_commit": origin()["git_commit"],
        "versions": json.loads(origin()["versions"]),
    }
    record |= describe(rule, config)
    current.append(Job(results, tuple(map(Path, snakemake.output)), record))


def rule_of_script() -> str:
    """Return the rule whose script this process runs, nothing if it runs none.

    A workflow that uses this one as a module gives its rules other names, and a rule that only asks
    a cluster for more has the same script.
    """
    script = Path(getattr(sys.modules["__main__"], "__file__", None) or "")
    is_ours = script.parent.name == SCRIPTS.name and (SCRIPTS / script.name).is_file()
    return script.stem if is_ours else ""


def checksums(results: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return the checksums of a job's inputs, by path: products' as recorded, below the results.

    Snakemake's measurements are left out, which are never the same twice, and what is no source.
    """
    found = {}
    for path in paths:
        record = read_record(path)
        if path.is_relative_to(results):
            if record and record["rule"] not in NO_SOURCES:
                found[path.relative_to(results).as_posix()] = record["sha256"]
        elif path.is_file():
            found[path.as_posix()] = sha256_of(path)
    return found


@contextmanager
def atomic(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`, recorded and renamed to it if the block succeeds.

    Raises
    ------
    DataError
        If the disk is full or cannot be written.
    """
    path = Path(path)
    # two processes may write the same product after a kill: the name is theirs alone
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if current and path.is_relative_to(current[-1].results):
            _write_record(current[-1], path, temporary)
        os.replace(temporary, path)
    except Exception as error:
        reason = unwritable(path.parent, error)
        if reason:
            raise DataError(f"{path} cannot be written ({reason}); {ROOM}.") from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def unwritable(folder: Path, error: BaseException) -> str:
    """Say why nothing can be written to a folder, or nothing if that is not what happened."""
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return os.strerror(error.errno)
    # libraries for HDF5 and tensors do not always say so
    full = folder.is_dir() and shutil.disk_usage(folder).free < BLOCK
    return os.strerror(errno.ENOSPC) if full else ""


def _write_record(job: Job, path: Path, temporary: Path) -> None:
    target = record_path(job.results, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    output = job.output_of(path).relative_to(job.results).as_posix()
    identity = {
        "sha256": sha256_of(temporary),
        "bytes": temporary.stat().st_size,
        "output": output,
        "libraries": loaded_libraries(),
    }
    record = dict(sorted({**identity, **job.record}.items()))
    text = json.dumps({**record, "record_hash": hash_of(record)}, indent=1)
    partial = target.with_name(f".{target.stem}.{uuid.uuid4().hex}.json")
    try:
        partial.write_text(f"{text}\n")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def record_path(results: Path, path: Path) -> Path:
    """Return where the record of a product stands."""
    below = path.relative_to(results)
    return results / FOLDER / below.with_name(f"{below.name}.json")


def read_record(path: PathLike) -> Record | None:
    """Return the record of a product, found from its path alone; None if there is none.

    Raises
    ------
    DataError
        If the record is damaged.
    """
    path = Path(path)
    for results in path.parents:
        found = record_path(results, path)
        if found.is_file():
            return load_record(found)
    return None


def load_record(path: Path) -> Record:
    """Read a record.

    Raises
    ------
    DataError
        If it is damaged.
    """
    try:
        record = json.loads(path.read_text())
        if record.pop("record_hash") != hash_of(record):
            raise ValueError("checksum differs")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is damaged ({type(error).__name__}); delete it and the product that it "
            "describes, and run snakemake again."
        ) from error
    return record


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damage(path: Path, record: Record | None) -> str:
    """Say what is wrong with the bytes of a product, or nothing."""
    size = path.stat().st_size
    if size == 0:
        return "is empty"
    if record and size != record["bytes"]:
        short = size < record["bytes"]
        return f"is {'truncated' if short else 'changed'}, {size} of {record['bytes']} bytes"
    if record and sha256_of(path) != record["sha256"]:
        return "is changed, its checksum differs"
    return ""


def check_product(path: PathLike) -> None:
    """Refuse a product that is missing or not as it was written; a process looks at it once.

    Raises
    ------
    DataError
        With the file and the remedy.
    """
    if not Path(path).is_file():
        raise DataError(f"{path} does not exist; run snakemake to make it.")
    status = os.stat(path)
    identity = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
    if identity in checked:
        return
    found = damage(Path(path), read_record(path))
    if found:
        raise DataError(f"{path} {found}; {REMEDY}.")
    checked.add(identity)


def write_run_config(config: Mapping[str, Any]) -> None:
    """Write the whole config of a run to `run.yaml` in its results, from which it can be repeated.

    Parameters
    ----------
    config
        All overlays merged, entries that they take out as null.
    """
    import yaml

    # Snakemake's own mappings become plain ones
    plain = json.loads(json.dumps(config))
    versions = ", ".join(f"{k} {v}" for k, v in json.loads(origin()["versions"]).items())
    text = (
        "# The whole config of the last run here: snakemake --configfile <this file> repeats it.\n"
        f"# config {hash_of_config(config)}, git commit {origin()['git_commit']}\n"
        f"# {versions}\n" + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    )
    path = Path(config["results_dir"], RUN_CONFIG)
    if not path.is_file() or path.read_bytes() != text.encode():
        with atomic(path) as temporary:
            temporary.write_bytes(text.encode())
