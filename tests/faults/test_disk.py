"""A disk that is full or cannot be written."""

import shutil
from pathlib import Path

import pytest

from damage import copy_run, differences, in_own_mounts, sentence, shell

pytestmark = [pytest.mark.workflow, pytest.mark.faults]

BLOCK = 4096  # bytes
FREE = 6  # blocks left for logs
FAILED = "it failed"
LEFT = "left behind"


def simulated(results: Path, split: str) -> list[Path]:
    """Return the maps of some splits."""
    return sorted((results / "simulate_maps").glob(f"{split}/*.h5"))


@pytest.mark.parametrize(
    "split", ["lognormal/bulk", pytest.param("*/*", marks=pytest.mark.exhaustive)]
)
def test_disk_full(tiny, split, record_property):
    """A disk (tmpfs) that is full when a job writes its maps."""
    run, configs = tiny
    runner = copy_run(run, f"full_{len(split)}")
    maps = [f"results/{p.relative_to(run.results)}" for p in simulated(run.results, split)]
    for name in maps:
        (runner.folder / name).unlink()
    command = shell(runner, *maps, configs=configs)
    printed = in_own_mounts(
        f"""
        mv results before
        mkdir results
        mount -t tmpfs tmpfs results
        cp -a before/. results
        used=$(df --output=used -B {BLOCK} results | tail -1)
        mount -o remount,size=$(((used + {FREE}) * {BLOCK})) results
        {command} || echo {FAILED}
        find results -name '.*.h5' | sed 's/^/{LEFT} /'
        mount -o remount,size=1g results
        {command}
        cp -a results after
        """,
        runner,
    )
    first, _, second = printed.partition(FAILED)
    assert second, printed
    record_property("seen", sentence(first, "results/simulate_maps", "disk", "run"))
    record_property("faults", 1)
    assert "Traceback" not in printed
    assert LEFT not in printed
    assert differences(run.results, runner.folder / "after") == []


def test_read_only_results(tiny, record_property):
    """A results folder that is read-only when the run starts."""
    run, configs = tiny
    runner = copy_run(run, "read_only")
    shutil.rmtree(runner.results / "plot_sky")
    command = shell(runner, configs=configs)
    printed = in_own_mounts(
        f"""
        mount --bind results results
        mount -o remount,ro,bind results
        {command} || echo {FAILED}
        umount results
        {command}
        """,
        runner,
    )
    first, _, second = printed.partition(FAILED)
    assert second, printed
    record_property("seen", sentence(first, "results_dir", "'results'", "cannot be written"))
    record_property("faults", 1)
    assert "Traceback" not in printed
    assert differences(run.results, runner.results) == []
