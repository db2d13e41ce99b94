"""The workflow on a real SLURM: the same bytes as on this machine, and what survives faults."""

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cluster import NODES, Cluster, missing_programs
from mflens.files.io import read_chunks
from runs import Runner

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.slurm,
    pytest.mark.skipif(
        bool(missing_programs()),
        reason=f"SLURM lacks {', '.join(missing_programs())}: apt-get install slurm-wlm munge",
    ),
    pytest.mark.skipif(
        find_spec("snakemake_executor_plugin_slurm") is None,
        reason="the plugin is missing: pip install -c envs/constraints.txt -e '.[slurm]'",
    ),
]

NOTHING = "Nothing to be done"
TIMED = {"tabulate_cost/cost.csv", "tabulate_cost/overhead.csv", "tabulate_methods/methods.csv"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("slurm")


def products(runner: Runner, pattern: str) -> dict[str, bytes]:
    """Content of the results that match a pattern, by path below the results."""
    paths = sorted(runner.results.glob(pattern))
    return {str(path.relative_to(runner.results)): path.read_bytes() for path in paths}


def test_smoke_run_gives_the_same_bytes(folder, smoke, cluster):
    runner = Runner(folder, "smoke", cluster)
    printed = runner()
    assert "Submitted array job" in printed
    assert "Group job start" in printed
    for pattern in ("simulate_maps/**/*.h5", "compute_spectra/**/*.h5", "tabulate_*/*.csv"):
        expected, found = products(smoke, pattern), products(runner, pattern)
        assert expected
        assert list(found) == list(expected)
        assert [path for path in expected if found[path] != expected[path]] in ([], sorted(TIMED))
    expected, found = (
        pd.read_csv(r.results / "tabulate_methods/methods.csv").drop(columns="cost_core_s")
        for r in (smoke, runner)
    )
    pd.testing.assert_frame_equal(expected, found)
    assert NOTHING in runner("-n")


def wait_for(condition: Callable[[], object], process, seconds: float = 300) -> None:
    """Wait until the condition holds while the process runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < end
        time.sleep(0.2)


def test_cancelled_jobs_and_lost_nodes_are_made_good(folder, smoke, cluster):
    """Cancel a running task of an array, then lose the node of another and get it back."""
    runner = Runner(folder, "faults", cluster)
    configs = ["smoke", runner.overlay({"simulate": {"chunk_size": {"bulk": 12}}})]
    wanted = [f"results/simulate_maps/lognormal/bulk/{chunk}.h5" for chunk in range(4)]
    # what the sims need is made beforehand and here, so that they are what is hit
    runner.cluster = None
    runner(*(f"results/compute_spectra/bulk/{chunk}.h5" for chunk in range(4)), configs=configs)
    runner.cluster = cluster

    def running() -> list[tuple[str, str, str]]:
        return [job for job in cluster.jobs() if "simulate_maps" in job[2]]

    process = runner.start(*wanted, configs=configs)
    wait_for(running, process)
    cancelled = running()[0][0]
    cluster("scancel", cancelled)
    node = ""
    while not node:
        wait_for(running, process)
        node = next((job[1] for job in running() if job[0] != cancelled), "")
    assert node in NODES
    cluster("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    wait_for(lambda: all(job[1] != node for job in running()), process)
    cluster("scontrol", "update", f"NodeName={node}", "State=RESUME")
    assert process.wait(timeout=600) == 0
    printed = (runner.folder / "run.log").read_text()
    assert f"'{cancelled}' failed, SLURM status is: 'CANCELLED'" in printed
    assert "Trying to restart job" in printed
    assert NOTHING in runner("-n", *wanted, configs=configs)
    expected, found = (
        read_chunks(sorted((r.results / "simulate_maps/lognormal/bulk").glob("*.h5")), ["maps"])
        for r in (smoke, runner)
    )
    for name, values in expected.items():
        assert np.asarray(values).tobytes() == np.asarray(found[name]).tobytes(), name


def test_requests_reach_slurm(folder, cluster):
    """A GPU from the profile, and memory and time, of which a retried job gets more."""
    runner = Runner(folder, "requests", cluster)
    asked = {"gpu": "1", "mem_mb": "attempt * 300", "runtime": "attempt * 7"}
    options = [f"draw_parameters:{name}={value}" for name, value in asked.items()]
    table = "results/draw_parameters/parameters.csv"
    overlay = runner.overlay({"theory": {"k_max_h_mpc": 3.0}})
    process = runner.start(table, "--set-resources", *options, configs=["smoke", overlay])

    def told(number: int) -> str:
        return cluster("scontrol", "show", "job", str(number))

    def newest() -> int:
        return max((int(job[0].split("_")[0]) for job in cluster.jobs("all")), default=0)

    before = newest()
    wait_for(lambda: newest() > before, process)
    first = newest()
    assert all(word in told(first) for word in ("MinMemoryNode=300M", "TimeLimit=00:07:00"))
    assert "gpu:1" in told(first)
    cluster("scancel", str(first))
    wait_for(lambda: newest() > first, process)
    assert all(word in told(newest()) for word in ("MinMemoryNode=600M", "TimeLimit=00:14:00"))
    assert process.wait(timeout=600) == 0
    assert (runner.folder / table).is_file()
