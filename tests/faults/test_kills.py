"""Workers and Snakemake killed at random moments: the run ends as if nothing had happened."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

import psutil
import pytest

from damage import copy_run, differences, differences_of_chunked, end_group, wait_for, workers
from runs import Runner

pytestmark = [pytest.mark.workflow, pytest.mark.faults]

VICTIMS = ("worker", "scheduler", "group")
SETTLED = 3.0  # seconds after which a job that wrote its benchmark is on record


class Victim:
    """A run that is killed and started again."""

    def __init__(self, runner: Runner, configs: Sequence[str], options: Sequence[str] = ()) -> None:
        self.runner, self.configs, self.options = runner, configs, options
        self.groups: list[int] = []
        self.finished: dict[str, int] = {}
        self.process = self.start()

    def start(self) -> subprocess.Popen[str]:
        options = [] if self.groups else self.options  # of the first start alone
        process = self.runner.start(*options, configs=self.configs)
        self.groups.append(process.pid)
        return process

    def benchmarks(self) -> dict[str, int]:
        """Time stamps of the files that Snakemake writes when a job is done."""
        paths = sorted((self.runner.results / "benchmarks").rglob("*.tsv"))
        return {str(path): path.stat().st_mtime_ns for path in paths}

    def reach(self, jobs: float) -> None:
        """Wait for a number of finished jobs, starting again after a failure."""
        while len(self.benchmarks()) < jobs:
            self.revive()
            time.sleep(0.05)

    def revive(self) -> None:
        """Start the run again if it has ended."""
        if self.process.poll() is not None:
            assert self.process.returncode != 0, "the run ended before it could be killed"
            self.process = self.start()

    def kill(self, victim: str, rng: random.Random) -> None:
        """Kill one worker, Snakemake alone or Snakemake and all its workers."""
        time.sleep(rng.uniform(0, 3))
        self.revive()
        while victim == "worker" and not (found := workers(self.process.pid)):
            self.revive()
            time.sleep(0.05)
        old = (time.time() - SETTLED) * 1e9
        self.finished |= {path: t for path, t in self.benchmarks().items() if t < old}
        if victim == "worker":
            with suppress(psutil.NoSuchProcess):
                rng.choice(found).kill()
            return
        (os.killpg if victim == "group" else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self) -> None:
        """Wait until nothing of the killed run is left, and run to the end."""
        self.process.wait()
        self.runner(configs=self.configs)

    def repeated(self) -> list[str]:
        """Return the finished jobs that ran again."""
        now = self.benchmarks()
        return [path for path, stamp in self.finished.items() if now.get(path) != stamp]


@pytest.fixture
def killed() -> Iterator[list[Victim]]:
    """Leave no process behind."""
    victims: list[Victim] = []
    yield victims
    for group in (group for victim in victims for group in victim.groups):
        end_group(group)


def strike(victim: Victim, kills: Sequence[str], n_jobs: int, seed: int) -> None:
    """Kill at moments drawn over the progress of the run, and let it end."""
    rng = random.Random(seed)
    moments = sorted(rng.uniform(0, 0.95) * n_jobs for _ in kills)
    for moment, kind in zip(moments, rng.sample(kills, len(kills)), strict=True):
        victim.reach(moment)
        victim.kill(kind, rng)
    victim.end()


def test_three_kills(tiny, folder, killed, record_property):
    """SIGKILL of a worker, of Snakemake and of both at random moments, begun on one core."""
    run, configs = tiny
    runner = Runner(folder, "killed")
    sizes = {"bulk": 4, "validation": 4, "pairs": 3, "test": 2}
    configs = [*configs, runner.overlay({"simulate": {"chunk_size": sizes}})]
    killed.append(Victim(runner, configs, ["--cores", "1"]))
    n_jobs = len(list((run.results / "benchmarks").rglob("*.tsv")))
    strike(killed[0], VICTIMS, n_jobs, seed=1)
    record_property("faults", len(VICTIMS))
    assert killed[0].repeated() == []
    assert differences_of_chunked(run.results, runner.results) == []
    assert "Nothing to be done" in runner("-n", configs=configs)


@pytest.mark.exhaustive
def test_twenty_kills_of_the_smoke_run(folder, killed, record_property):
    """SIGKILL at 20 random moments of the smoke run: 10 workers, 5 Snakemakes, 5 with workers."""
    whole, runner = Runner(folder, "whole"), Runner(folder, "twenty")
    whole()
    n_jobs = len(list((whole.results / "benchmarks").rglob("*.tsv")))
    killed.append(Victim(runner, ["smoke"]))
    strike(killed[0], ["worker"] * 10 + ["scheduler"] * 5 + ["group"] * 5, n_jobs, seed=20)
    record_property("faults", 20)
    assert killed[0].repeated() == []
    assert differences(whole.results, runner.results) == []


def test_a_killed_run_takes_its_jobs_along(tiny, killed, record_property):
    """Snakemake killed alone, and its job must not go on: the next run may have another config."""
    run, configs = tiny
    runner, kernels = copy_run(run, "orphans"), "results/compute_kernels/kernels.h5"
    log = runner.results / "logs/compute_kernels/kernels.log"
    log.unlink()
    killed.append(Victim(runner, configs, ["--force", kernels]))
    scheduler = killed[0].process
    wait_for(log.exists, scheduler)  # the job is at work
    scheduler.kill()
    scheduler.wait()
    end = time.monotonic() + 60
    while workers(scheduler.pid):
        assert time.monotonic() < end, "the job lives on"
        time.sleep(0.1)
    record_property("faults", 1)
    runner(kernels, configs=configs)
    assert differences(run.results, runner.results) == []
