"""Large runs: their graph is soon built and has few jobs, and scheduling is little of the work."""

import re
import resource
import shutil
import time

import pytest

from configs import ROOT, resolved_config
from mflens.run.needs import SimCost
from runs import Runner

pytestmark = pytest.mark.workflow

SURVEY = ["survey", "euclid_dr1"]
STUB = ["--executor", "stub", "--jobs", "1000", "--cores", "1000000"]
N_SIMS = 100_000
# Snakemake starts twice in a job, to take its step and to run it
STARTS = 2


def jobs(printed: str) -> dict[str, int]:
    """Return the table of jobs that a run prints at its start."""
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)}


def cpu_s() -> float:
    """CPU time of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_survey_graph(tmp_path):
    started = time.monotonic()
    printed = Runner(tmp_path, "survey")("-n", "--quiet", "rules", configs=SURVEY)
    assert time.monotonic() - started < 60
    found = jobs(printed)
    assert found["simulate_maps"] > 5
    assert found["simulate_costly_maps"] > 50
    assert found["total"] <= 500
    assert re.search(r"and \d+ GB in 'results', where [\d.]+ GB are free", printed)


@pytest.mark.slow
def test_scheduling_is_little_of_a_campaign(tmp_path):
    """Run the graph of 10^5 sims; only its jobs are stubs, Snakemake's scheduler is the real one.

    Every job holds its threads while Snakemake starts in it. Counted as work are the bulk sims
    alone: pairs and training, which take longer, would make the share smaller.
    """
    runner = Runner(tmp_path, "campaign")
    plugin = runner.folder / "snakemake_executor_plugin_stub"
    plugin.mkdir()
    shutil.copy(ROOT / "tests/stub_executor.py", plugin / "__init__.py")
    configs = [*SURVEY, runner.overlay({"simulate": {"sims": {"bulk": N_SIMS}}})]
    before = cpu_s()
    printed = runner(*STUB, configs=configs)
    scheduling = cpu_s() - before
    found = jobs(printed)
    assert found["simulate_maps"] > 50
    before = cpu_s()
    runner("results/draw_parameters/parameters.csv", "-n", configs=configs)
    start = cpu_s() - before
    threads = {"simulate_maps": 4, "simulate_costly_maps": 4} | dict.fromkeys(
        ["pretrain_compressor", "finetune_compressor", "sample_posterior"], 8
    )
    held = sum(
        n * threads.get(rule, 1) for rule, n in found.items() if rule not in ("all", "total")
    )
    overhead = scheduling + STARTS * start * held
    share = overhead / (N_SIMS * SimCost(resolved_config(*SURVEY)).sim_s("bulk", "lognormal"))
    print(
        f"{found['total']} jobs, {scheduling:.0f} s of scheduling, {start:.1f} s a start: {share}"
    )
    assert share < 0.05
