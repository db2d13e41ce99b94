"""Faults for the tests: damaged files, kills, small disks; and what two runs must have alike."""

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from mflens.files.io import read_chunks
from runs import Runner

# the graph of the smoke run with one or two sims where that has a dozen
TINY = {
    "theory": {
        "power": "emulator",
        "emulator": {"n_training": 12, "n_validation": 4, "networks": {"steps": 50}},
    },
    "simulate": {
        "sims": {"bulk": 8, "validation": 4, "pairs": 6, "test": 4},
        "chunk_size": {"bulk": 8, "validation": 4, "pairs": 6, "test": 4},
        "n_convergence": 2,
        "n_calibration": 2,
    },
    "compress": {"pretraining": {"max_epochs": 1}},
    "infer": {
        "methods": ["prior", "linear", "transfer"],
        "n_high": [6],
        "training": {"max_epochs": 1},
    },
    "evaluate": {"n_samples": 50, "n_chains": 1},
    "report": {"triangle_sims": 1},
}
# what holds measured times
TIMED = ("logs", "benchmarks", "tabulate_cost", "plot_cost", "plot_methods")


def copy_run(run: Runner, name: str) -> Runner:
    """Return a copy of a run, Snakemake's records and time stamps included."""
    copy = Runner(run.repository.parent, name)
    shutil.copytree(run.folder, copy.folder, dirs_exist_ok=True)
    return copy


def products(results: Path) -> dict[str, Path]:
    """Return what a run leaves behind and no clock decides, by its path below the results."""
    paths = {str(p.relative_to(results)): p for p in sorted(results.rglob("*")) if p.is_file()}
    return {
        name: path
        for name, path in paths.items()
        if not is_timed(Path(name)) and not path.name.startswith(".")
    }


def is_timed(path: Path) -> bool:
    """Say whether a file below the results holds measured times, or the checksum of such a file."""
    recorded = path.parts[0] == "provenance"
    rule = path.parts[int(recorded and len(path.parts) > 1)]
    return rule in TIMED or (recorded and rule == "tabulate_methods")


def content(path: Path) -> Any:
    """Return the bytes of a product; of the table of methods what is not a cost."""
    if path.name == "methods.csv":
        return pd.read_csv(path).drop(columns="cost_core_s").to_csv()
    if path.name == "methods.md":
        return [line.rsplit("|", 2)[0] for line in path.read_text().splitlines()]
    return path.read_bytes()


def differences(expected: Path, found: Path) -> list[str]:
    """Return the products of two results folders that are not the same in both."""
    first, second = products(expected), products(found)
    changed = [n for n in {*first} & {*second} if content(first[n]) != content(second[n])]
    return sorted([*changed, *({*first} ^ {*second})])


def differences_of_chunked(expected: Path, found: Path) -> list[str]:
    """Return what is not the same in two results folders whose chunks have other sizes."""
    # theory is in chunks of its own, and records name the chunks
    apart = ("compute_spectra", "simulate_maps", "measure_spectra", "provenance", "run.yaml")
    named = [n for n in differences(expected, found) if n.split("/")[0] not in apart]
    wanted = {"simulate_maps": ["theta", "maps", "pixel"], "measure_spectra": ["theta", "spectra"]}
    for rule, names in wanted.items():
        for split in sorted((expected / rule).glob("*/*")):
            place = split.relative_to(expected)
            first, second = (
                read_chunks(sorted((results / place).glob("*.h5")), names)
                for results in (expected, found)
            )
            named += [
                f"{place}: {name}"
                for name in first
                if first[name].tobytes() != second[name].tobytes()
            ]
    return named


def truncate(path: Path) -> None:
    """Take the second half of a file away."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    """Take all of a file away."""
    os.truncate(path, 0)


def flip(path: Path, rng: random.Random) -> None:
    """Turn one bit of a file around."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def planned(printed: str) -> set[str]:
    """Return the rules of a dry run, but for those that only read measured times."""
    found = set(re.findall(r"^(\w+) +\d+$", printed, re.MULTILINE))
    return found - {
        "all",
        "total",
        "tabulate_cost",
        "plot_cost",
        "tabulate_methods",
        "plot_methods",
    }


def sentence(printed: str, *words: str) -> str:
    """Return the line of what a run printed that holds all these words."""
    found = [line for line in printed.splitlines() if all(word in line for word in words)]
    assert found, printed[-5000:]
    return found[0].strip()


def workers(group: int) -> list[psutil.Process]:
    """Return the jobs of a process group that run a script now."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            scripts = any("/.snakemake/scripts/" in word for word in process.cmdline())
            if scripts and os.getpgid(process.pid) == group:
                found.append(process)
    return found


def wait_for(
    condition: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 300
) -> Any:
    """Wait until the condition holds while the process runs, and return what it returned."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert process.poll() is None, "the run ended before the fault"
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def end_group(group: int) -> None:
    """Kill what is left of a process group."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def in_own_mounts(script: str, runner: Runner) -> str:
    """Run a shell script where it may mount file systems that no one else sees.

    Skips the test where this machine lets the user do no such thing.
    """
    for command in (["unshare", "-m"], ["unshare", "-rm"]):
        probe = [*command, "mount", "-t", "tmpfs", "tmpfs", str(runner.results)]
        if subprocess.run(probe, capture_output=True).returncode == 0:
            break
    else:
        pytest.skip("mounting is not permitted on this machine")
    done = subprocess.run(
        [*command, "bash", "-euo", "pipefail", "-c", script],
        **{"cwd": runner.folder, "env": runner.environment, "text": True},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def shell(runner: Runner, *arguments: str, configs: Sequence[str]) -> str:
    """Return the command of a run as text for a shell."""
    return shlex.join(runner.command(*arguments, configs=configs))
