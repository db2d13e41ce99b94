"""Damaged products: every job that reads one refuses it by name, and a run makes it anew."""

import inspect
import os
import random
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from configs import ROOT
from damage import copy_run, differences, empty, flip, planned, products, sentence, truncate
from mflens.errors import DataError
from mflens.files import provenance
from mflens.files.io import _digest, read_hdf5, write_hdf5
from mflens.files.provenance import (
    checked,
    current,
    damage,
    origin,
    read_record,
    record_path,
    start_record,
)
from mflens.run.captions import describe_rule
from mflens.run.job import use_threads

pytestmark = [pytest.mark.workflow, pytest.mark.faults]

FLIPS = 3
END_OF_PREAMBLE = "######## snakemake preamble end #########"
READ = {".h5", ".csv", ".json", ".pt"}
# what people and other programs read: `verify` alone checks it
UNREAD = {".pdf", ".png", ".md", ".txt", ".paramnames", ".ranges", ".yaml"}
REMEDY = ("delete it", "run")
NOTHING = "Nothing to be done"
MAPS = "simulate_maps/lognormal/validation/0.h5"
TABLE = "draw_parameters/parameters.csv"
MODEL = "pretrain_compressor/model.pt"


def kind(path: str) -> tuple[str, str]:
    """Return the folder of the rule that makes a file, and its suffix."""
    parts = Path(path).parts[1:]
    return parts[parts[0] in ("logs", "benchmarks")], Path(path).suffix


def job_of(script: Path) -> Any:
    """Return what Snakemake gives to a script, from the copy of it that Snakemake ran."""
    scope: dict[str, Any] = {"__file__": str(script)}
    kept = list(sys.path)
    exec(script.read_text().split(END_OF_PREAMBLE)[0], scope)
    sys.path[:] = kept
    return scope["snakemake"]


def call_of(name: str, job: Any) -> Callable[[], None]:
    """Return a job's `main` with its arguments."""
    main = runpy.run_path(str(ROOT / "scripts" / f"{name.split('/')[0]}.py"))["main"]
    arguments = {**job.input, **job.output, **job.params, **job.wildcards}
    known = inspect.signature(main).parameters

    def call() -> None:
        checked.clear()  # files are looked at once in a process
        start_record(job, describe_rule)
        try:
            main(**{key: arguments[key] for key in arguments if key in known})
        finally:
            current.clear()

    return call


@pytest.fixture
def jobs(tiny, tmp_path, monkeypatch) -> Iterator[dict[str, Any]]:
    """Yield the job of each script that reads the most kinds, in a copy of its run."""
    run, _ = tiny
    use_threads(1)
    # the copied repository is not under version control, and says so in its products
    monkeypatch.setattr(provenance, "commit_of", lambda path: "unknown")
    origin.cache_clear()
    shutil.copytree(run.folder, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    found: dict[str, Any] = {}
    # their names are random
    ran = [(p.name.split(".")[1], job_of(p)) for p in Path(".snakemake/scripts").glob("*.py")]
    for script, job in sorted(ran, key=lambda entry: (entry[0], *entry[1].output)):
        # the sims of some splits need more than others
        name = "/".join([script, *job.wildcards.get("split", "").split()])
        kinds = {kind(path) for path in job.input}
        if name not in found or len(kinds) > len({kind(path) for path in found[name].input}):
            found[name] = job
    yield found
    origin.cache_clear()


def content(job: Any) -> dict[str, bytes]:
    """Return the bytes of all that a job made."""
    return {path: Path(path).read_bytes() for path in job.output if Path(path).is_file()}


def refusal(call: Callable[[], None], path: Path) -> str:
    """Return the sentence with which a job refuses a file, nothing if it does not."""
    try:
        call()
    except DataError as error:
        said = str(error)
        assert str(path) in said and "\n" not in said
        assert all(word in said for word in REMEDY), said
        return said
    return ""


def test_jobs_refuse_damaged_inputs(jobs, record_property):
    """A truncated, an empty and a bit-flipped file of every kind that a job reads."""
    rng = random.Random(3)
    tried, read, refused = 0, set(), {}
    for name, job in jobs.items():
        call = call_of(name, job)
        for path in {kind(path): Path(path) for path in job.input}.values():
            if kind(str(path))[0] in provenance.NO_SOURCES:
                continue
            intact, before = path.read_bytes(), content(job)
            read.add(kind(str(path)))
            # Snakemake writes the measured times, without a checksum
            for injure in (truncate, empty, *[flip] * FLIPS * (path.suffix != ".tsv")):
                injure(path, rng) if injure is flip else injure(path)
                if said := refusal(call, path):
                    refused[kind(str(path)), injure] = said
                else:
                    # the damage is where this job does not look
                    assert content(job) == before, (name, path, injure)
                path.write_bytes(intact)
                tried += 1
    record_property("faults", tried)
    record_property("seen", refused[kind(f"results/{MAPS}"), truncate])
    assert {*refused} >= {(k, injure) for k in read for injure in (truncate, empty)}
    flipped = {k for k, injure in refused if injure is flip}
    assert flipped >= {kind(f"results/{name}") for name in (MAPS, MODEL, TABLE)}
    written = {kind(f"results/{path}") for path in products(Path("results"))}
    unread = {k for k in written - read if k[1] not in UNREAD and k[0] != "provenance"}
    # tables at the end of the graph, which people read, and what jobs only wait for
    tables = {("train_emulator", ".csv"), ("tabulate_pairing", ".csv")}
    assert unread <= tables | {("compile_functions", ".csv")}


def test_every_damaged_product_is_found(jobs, record_property):
    """A truncated, an empty and a bit-flipped file of every kind that is written: all are found."""
    rng = random.Random(4)
    chosen = {kind(f"results/{name}"): path for name, path in products(Path("results")).items()}
    chosen = {k: path for k, path in chosen.items() if k[0] not in ("provenance", "run.yaml")}
    assert {suffix for _, suffix in chosen} >= {*READ, *UNREAD} - {".yaml"}
    for path in chosen.values():
        intact = path.read_bytes()
        for injury in (truncate, empty, *[flip] * FLIPS):
            injury(path, rng) if injury is flip else injury(path)
            assert damage(path, read_record(path)), (path, injury)
            path.write_bytes(intact)
        assert not damage(path, read_record(path)), path
    record_property("faults", len(chosen) * (2 + FLIPS))


def forget_record(path: Path) -> None:
    """Remove the record of a product, so that nothing but its content tells."""
    results = next(folder for folder in path.parents if folder.name == "results")
    record_path(results, path).unlink()


def with_nan(path: Path) -> None:
    """Put a NaN into a map, with a checksum of the array that fits."""
    with h5py.File(path, "r+") as file:
        maps = file["maps"]
        maps[1, 0, 0, 7] = np.nan
        maps.attrs["sha256"] = _digest(maps[()])
    forget_record(path)


def without_a_sim(path: Path) -> None:
    """Take the second sim out of all arrays, with checksums that fit."""
    arrays, attributes = read_hdf5(path)
    n_sims = len(arrays["sim"])
    kept = {k: np.delete(a, 1, axis=0) if len(a) == n_sims else a for k, a in arrays.items()}
    write_hdf5(path, kept, attributes)
    forget_record(path)


def without_its_end(path: Path) -> None:
    """Take the last sim out of one array, as an edit with h5py does."""
    with h5py.File(path, "r+") as file:
        maps = file["maps"][:-1]
        del file["maps"]
        file["maps"] = maps


# the file, what is done to it, and a target that reads it
INJURIES = {
    "a NaN map": (MAPS, with_nan, MODEL),
    "truncated maps": (MAPS, truncate, MODEL),
    "a chunk without a sim": (MAPS, without_a_sim, MODEL),
    "a chunk edited by hand": (MAPS, without_its_end, MODEL),
    "an empty model": (MODEL, empty, "finetune_compressor/transfer/6.pt"),
}


@pytest.mark.parametrize("injury", ["a NaN map", "a chunk without a sim", "a chunk edited by hand"])
def test_no_job_computes_on_it(jobs, injury, record_property):
    """A chunk whose content is wrong, refused before anything is trained on it."""
    name, injure, _ = INJURIES[injury]
    path = Path("results", name)
    injure(path)
    seen = refusal(call_of("pretrain_compressor", jobs["pretrain_compressor"]), path)
    assert seen
    record_property("faults", 1)
    record_property("seen", seen)


@pytest.mark.parametrize(
    "injury",
    [
        "a NaN map",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in INJURIES
            if name != "a NaN map"
        ),
    ],
)
def test_following_the_remedy_mends_the_run(tiny, injury, record_property):
    """A plain run names the damaged file; without it, the next run makes all as it was."""
    run, configs = tiny
    runner = copy_run(run, f"mended_{injury.replace(' ', '_')}")
    name, injure, reader = INJURIES[injury]
    path, target = runner.results / name, f"results/{reader}"
    injure(path)
    printed = runner(target, configs=configs, succeeds=False)
    record_property("seen", sentence(printed, f"results/{name}", *REMEDY))
    record_property("faults", 1)
    assert "Traceback" not in printed
    path.unlink()
    runner(target, configs=configs)
    assert differences(run.results, runner.results) == []
    assert planned(runner("-n", configs=configs)) == set()


@pytest.mark.exhaustive
def test_repair_makes_anew_what_is_damaged(tiny, record_property):
    """A bit-flipped file of every kind at once: verify names them all, repair makes them anew."""
    run, configs = tiny
    runner = copy_run(run, "repaired")
    rng = random.Random(5)
    chosen = {kind(f"results/{name}"): name for name in products(runner.results)}
    names = [name for (folder, _), name in chosen.items() if folder != "provenance"]
    names.remove("run.yaml")
    for name in names:
        path = runner.results / name
        stamp = path.stat().st_mtime_ns
        flip(path, rng)
        os.utime(path, ns=(stamp, stamp))
    assert NOTHING in runner("-n", configs=configs), "no time stamp gives it away"
    command = [sys.executable, "-m", "mflens.run.verify"]
    options = {"cwd": runner.folder, "env": runner.environment, "text": True}
    printed = subprocess.run(command, capture_output=True, **options).stdout
    found = {line.split(":")[0] for line in printed.splitlines() if ": broken, " in line}
    assert found == set(names)
    record_property("seen", sentence(printed, names[0], "broken"))
    record_property("faults", len(names))
    subprocess.run([*command, "--repair"], capture_output=True, check=True, **options)
    runner("repair", configs=configs)
    runner(configs=configs)
    assert differences(run.results, runner.results) == ["provenance/removed.json"]
    assert subprocess.run(command, capture_output=True, **options).returncode == 0
