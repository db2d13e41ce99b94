"""Two runs in one folder, a clock set back, and too little memory."""

import os
import resource
from collections.abc import Iterator

import psutil
import pytest

from damage import copy_run, differences, end_group, planned, sentence, wait_for, workers

pytestmark = [pytest.mark.workflow, pytest.mark.faults]

SIMULATED = "results/simulate_maps/lognormal/bulk/0.h5"
DAY_NS = 86_400 * 10**9


@pytest.fixture
def groups() -> Iterator[list[int]]:
    """Leave no process behind."""
    started: list[int] = []
    yield started
    for group in started:
        end_group(group)


def test_two_runs_in_one_folder(tiny, groups, record_property):
    """A second run started in the folder of the first: refused, and the first ends as ever."""
    run, configs = tiny
    runner = copy_run(run, "twice")
    (runner.folder / SIMULATED).unlink()
    process = runner.start(SIMULATED, configs=configs)
    groups.append(process.pid)
    worker = wait_for(lambda: workers(process.pid), process)[0]
    worker.suspend()  # until the second has come and gone
    printed = runner("--forcerun", "tabulate_cost", configs=configs, succeeds=False)
    record_property("seen", sentence(printed, "another run", "'results'"))
    record_property("faults", 1)
    assert "Traceback" not in printed
    worker.resume()
    assert process.wait() == 0, (runner.folder / "run.log").read_text()[-5000:]
    assert differences(run.results, runner.results) == []


def test_clock_set_back(tiny, record_property):
    """All products from tomorrow, as after a clock was set back; one must be made anew."""
    run, configs = tiny
    runner = copy_run(run, "clock")
    for path in runner.results.rglob("*"):
        stamp = path.stat().st_mtime_ns + DAY_NS
        os.utime(path, ns=(stamp, stamp))
    (runner.folder / SIMULATED).unlink()
    runner(SIMULATED, configs=configs)
    record_property("faults", 1)
    assert differences(run.results, runner.results) == []
    assert planned(runner("-n", configs=configs)) == set()


def test_out_of_memory_in_a_simulation(tiny, groups, record_property):
    """A job that gets no more memory (RLIMIT_AS) once it simulates."""
    run, configs = tiny
    runner = copy_run(run, "starved")
    (runner.folder / SIMULATED).unlink()
    log = runner.folder / SIMULATED.replace("results", "results/logs").replace(".h5", ".log")
    log.unlink()
    process = runner.start(SIMULATED, configs=configs)
    groups.append(process.pid)
    wait_for(lambda: log.is_file() and log.stat().st_size, process)
    worker = workers(process.pid)[0]
    used = psutil.Process(worker.pid).memory_info().vms
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (used, used))
    assert process.wait() != 0
    printed = (runner.folder / "run.log").read_text()
    record_property("seen", sentence(printed, "memory"))
    record_property("faults", 1)
    assert not (runner.folder / SIMULATED).exists()
    runner(SIMULATED, configs=configs)
    assert differences(run.results, runner.results) == []
