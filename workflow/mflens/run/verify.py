"""Check every product of a run: its bytes, and whether all that made it is as it is now.

That is config, code, inputs and the versions of the libraries that it was made with.

From the command line: python -m mflens.run.verify [--repair] [results]; as a target:
snakemake verify.
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from mflens.errors import DataError, MflensError
from mflens.files.dependencies import fingerprint
from mflens.files.provenance import (
    FOLDER,
    RUN_CONFIG,
    Record,
    atomic,
    changed_library,
    damage,
    hash_of_config,
    load_record,
    record_path,
    sha256_of,
)
from mflens.run.check import check_config
from mflens.run.config_files import ROOT, over_defaults, read_files
from mflens.run.plan import Plan
from mflens.run.schema import with_numbers

REMOVED = "removed.json"  # below the records: what the target `repair` makes anew
AFTERWARDS = (
    "The target `repair` makes these anew, and a run after it what follows from them if they come "
    "out otherwise; a run at once makes anew what follows in any case."
)
# folders whose files are no products
APART = ("logs", "benchmarks", FOLDER)
# what Snakemake says of a product that it would make otherwise now
STALE = {
    "params changed": "made with another config",
    "set of input files changed": "made from other files",
}
# whose arrays and tensors hold numbers alone; scores may be undefined
FINITE = (
    "compute_kernels", "compute_training_power", "train_emulator", "compute_spectra",
    "compute_whitening", "simulate_maps", "measure_spectra", "pretrain_compressor",
    "finetune_compressor", "sample_posterior", "simulate_task_tiers", "finetune_task_methods",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What is known of one product.

    Attributes
    ----------
    path
        The product, below the results.
    state
        `ok`; `broken`: its bytes are not those that were written, or hold NaN; `stale`: made by
        another config, code, inputs or versions of libraries; `missing`; `left over`: whole, but
        no part of the config; `unknown`: it has no record.
    reason
        Why, in words.
    output
        What to remove so that it is made anew: itself, or the folder that is made with it.
    planned
        Whether the config makes it.
    """

    path: str
    state: str
    reason: str = ""
    output: str = ""
    planned: bool = False


def verify(config: Mapping[str, Any]) -> list[Finding]:
    """Check all products in the results of a config.

    Parameters
    ----------
    config
        The whole config, from which the products should come.

    Raises
    ------
    DataError
        If there is nothing to check, or the config cannot be run.
    """
    results = Path(config["results_dir"])
    records = sorted((results / FOLDER).rglob("*.json"))
    records = [path for path in records if path != results / FOLDER / REMOVED]
    if not records:
        raise DataError(f"{results} holds no records of products; run snakemake first.")
    planned = ask_snakemake(config)
    found = [Finding(RUN_CONFIG, *_state_of_config(results))]
    known: dict[str, Record] = {}
    for path in records:
        product = path.relative_to(results / FOLDER).with_suffix("").as_posix()
        try:
            known[product] = load_record(path)
        except DataError:
            planned_too = product in planned
            found.append(Finding(product, "broken", "its record is damaged", product, planned_too))
    codes = {rule: _code(rule, config) for rule in {r["rule"] for r in known.values()}}
    for product, record in known.items():
        state = _bytes_state(results, product, record) or _origin_state(
            known, record, planned, codes
        )
        output = record["output"]
        found.append(Finding(product, *(state or ("ok", "")), output, output in planned))
    named = {finding.path for finding in found}
    strays = (p.relative_to(results).as_posix() for p in _products(results))
    found += [Finding(p, "unknown", "it has no record", p) for p in strays if p not in named]
    return sorted(found, key=lambda finding: finding.path)


def _products(results: Path) -> list[Path]:
    """Return all files that are no logs, measurements or records."""
    files = (path for path in results.rglob("*") if path.is_file())
    return [
        path
        for path in files
        if path.relative_to(results).parts[0] not in APART and not path.name.startswith(".")
    ]


def _state_of_config(results: Path) -> tuple[str, str, str]:
    """Say whether `run.yaml` is whole; the next run writes it anew."""
    path = results / RUN_CONFIG
    if not path.is_file():
        return "missing", "the next run writes it", RUN_CONFIG
    try:
        text = path.read_text()
        written = re.search(r"^# config (\w+),", text, re.MULTILINE)
        if not written or written[1] != hash_of_config(yaml.safe_load(text)):
            return "broken", "is changed, its checksum differs", RUN_CONFIG
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return "broken", "cannot be read", RUN_CONFIG
    return "ok", "", RUN_CONFIG


def _bytes_state(results: Path, product: str, record: Record) -> tuple[str, str] | None:
    path = results / product
    if not path.is_file():
        inside = record["output"] != product and (results / record["output"]).exists()
        state = "broken" if inside else "missing"
        return state, "is missing from its folder" if inside else "the next run makes it"
    reason = damage(path, record)
    if not reason and record["rule"] in FINITE and not _is_finite(path):
        reason = "holds values that are not finite"
    return ("broken", reason) if reason else None


def _is_finite(path: Path) -> bool:
    """Say whether all numbers of a file with arrays or tensors are finite."""
    from mflens.files.io import load_model, not_finite, read_hdf5

    if path.suffix == ".h5":
        try:
            return not not_finite(read_hdf5(path)[0])
        except DataError:  # its bytes are those that were written
            return False
    if path.suffix == ".pt":
        return all(tensor.isfinite().all() for tensor in _tensors(load_model(path)[0]))
    return True


def _tensors(state: Any) -> Iterable[Any]:
    if isinstance(state, Mapping):
        for entry in state.values():
            yield from _tensors(entry)
    elif hasattr(state, "isfinite"):
        yield state


def _origin_state(
    known: Mapping[str, Record],
    record: Record,
    planned: Mapping[str, str],
    codes: Mapping[str, str],
) -> tuple[str, str] | None:
    if record["code"] != codes[record["rule"]]:
        return "stale", f"made by other code of {record['rule']}"
    if library := changed_library(record):
        return "stale", library
    # Snakemake looks at the inputs as they are: where one is damaged, what was made from it is not
    for path, checksum in record["inputs"].items():
        now = known[path]["sha256"] if path in known else _checksum(path)
        if now not in ("", checksum):
            return "stale", f"made from another version of {path}"
    if record["output"] not in planned:
        return "left over", "is no part of this config"
    reason = STALE.get(planned[record["output"]])
    return ("stale", reason) if reason else None


def _checksum(path: str) -> str:
    """Return the checksum of a file of the user's, nothing if it is no longer there."""
    return sha256_of(Path(path)) if os.path.isfile(path) else ""


def _code(rule: str, config: Mapping[str, Any]) -> str:
    """Return the fingerprint of a rule's code as it is now (`code` in common.smk)."""
    script = ROOT / "scripts" / f"{rule}.py"
    if not script.is_file():
        return ""
    if rule != "simulate_maps":
        return fingerprint(script)
    classes = [t["class"] for t in config["simulate"]["tiers"].values() if "class" in t]
    return fingerprint(script, classes, Plan(config).survey_files)


def ask_snakemake(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what Snakemake says of every output of a config, by its path below the results.

    Raises
    ------
    DataError
        With Snakemake's own sentence, if the config cannot be run.
    """
    results = Path(config["results_dir"])
    targets = ["all", *(task for task in config["tasks"] if (results / task).is_dir())]
    targets += ["benchmarks"] * (results / "measure_speed").is_dir()
    with TemporaryDirectory() as folder:
        written = Path(folder, RUN_CONFIG)
        # in its order, which is that of the parameters in all products
        plain = json.loads(json.dumps(config))
        written.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
        command = [sys.executable, "-m", "snakemake", "--summary", *targets, "--nolock"]
        command += ["--snakefile", str(ROOT / "Snakefile"), "--configfile", str(written)]
        command += ["--workflow-profile", str(ROOT / "workflow/profiles/default")]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise DataError(f"nothing can be run with this config: {said[-1].strip()}")
    rows = (line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 5)
    return {
        Path(row[0]).relative_to(results).as_posix(): row[4]
        for row in rows
        if Path(row[0]).is_relative_to(results)
    }


def repair(config: Mapping[str, Any], findings: Sequence[Finding]) -> list[str]:
    """Remove what is broken or stale, with its records, and note it for the target `repair`.

    Returns
    -------
    list
        What was removed, below the results.

    Raises
    ------
    DataError
        If a run is writing to the results.
    """
    results = Path(config["results_dir"])
    with open(results / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(
                f"a run is writing to {results}; wait for it or stop it, then repair."
            ) from error
        outputs = {f.output: f.planned for f in findings if f.state in ("broken", "stale")}
        for output in outputs:
            path, record = results / output, record_path(results, results / output)
            for folder in (path, record.with_suffix("")):
                shutil.rmtree(folder, ignore_errors=True)
            for file in (path, record):
                file.unlink(missing_ok=True)
        again = [output for output, planned in outputs.items() if planned]
        note = {"config": hash_of_config(config), "products": again + removed_products(config)}
        with atomic(results / FOLDER / REMOVED) as temporary:
            temporary.write_text(json.dumps(note, indent=1) + "\n")
    return list(outputs)


def removed_products(config: Mapping[str, Any]) -> list[str]:
    """Return the products of this config that `repair` removed and no run has made since."""
    results = Path(config["results_dir"])
    try:
        note = json.loads((results / FOLDER / REMOVED).read_text())
        if note["config"] != hash_of_config(config):
            return []
        return [product for product in note["products"] if not (results / product).exists()]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def report(findings: Sequence[Finding]) -> list[str]:
    """Return a line for every product that is not as it should be, and the counts."""
    lines = [f"{f.path}: {f.state}, {f.reason}" for f in findings if f.state != "ok"]
    counts = Counter(finding.state for finding in findings)
    return [*lines, ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))]


def faults(findings: Sequence[Finding]) -> list[Finding]:
    """Return what makes the results other than they should be.

    Without `run.yaml` no product is: a workflow that uses this one as a module may not write it.
    """
    wrong = [finding for finding in findings if finding.state in ("broken", "stale", "missing")]
    return [f for f in wrong if (f.path, f.state) != (RUN_CONFIG, "missing")]


def read_config(results: Path, overlays: Sequence[str]) -> dict[str, Any]:
    """Return the config of the last run, or the defaults under these overlays.

    Raises
    ------
    MflensError
        If a file cannot be read, is no config or holds a key twice.
    """
    if overlays:
        config = over_defaults(read_files([Path(overlay) for overlay in overlays]))
    else:
        config = read_files([results / RUN_CONFIG])
    return with_numbers(config) | {"results_dir": str(results)}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line, in whatever order they stand."""
    parser = argparse.ArgumentParser(
        prog="python -m mflens.run.verify",
        description="Check every product of a run: its bytes, its config, its code.",
    )
    parser.add_argument("results", nargs="?", help="folder of the results (results)")
    parser.add_argument("--repair", action="store_true", help="remove what is broken or stale")
    parser.add_argument(
        "--configfile",
        nargs="+",
        action="extend",
        default=[],
        help="overlays to check against, as in a run; without, the config of the last run",
    )
    chosen = parser.parse_args(arguments)
    # behind --configfile, the folder of the results counts as one more file
    folders = [name for name in chosen.configfile if os.path.isdir(name)]
    if chosen.results is None and len(folders) == 1:
        chosen.results = folders[0]
        chosen.configfile.remove(folders[0])
    chosen.results = chosen.results or "results"
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the results of a run, and repair them if asked to."""
    chosen = parse(arguments)
    try:
        config = read_config(Path(chosen.results), chosen.configfile)
        check_config(config)
        found = verify(config)
        print("\n".join(report(found)))
        if chosen.repair:
            removed = repair(config, found)
            print("\n".join(f"removed {output}" for output in removed) or "nothing to remove")
            if removed:
                print(AFTERWARDS)
    except MflensError as error:
        print(error, file=sys.stderr)
        return 2
    return int(bool(faults(found)) and not chosen.repair)


if __name__ == "__main__":
    sys.exit(main())
