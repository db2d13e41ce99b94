"""What Snakemake itself costs: a schedule whose shares are known."""

import subprocess
import sys

import pandas as pd
import pytest

from configs import resolved_config
from mflens.evaluate.cost import summarise_overhead
from mflens.run.job import read_start
from mflens.run.needs import chunk_sizes
from mflens.run.plan import Plan

# two cores; the last job waits for both others
SCHEDULE = pd.DataFrame(
    [
        (0.0, 10.0, 1, 1.0, 0.0),
        (0.0, 30.0, 1, 2.0, 20.0),
        (10.5, 14.5, 1, 1.0, 0.0),
        (31.0, 40.0, 2, 3.0, 0.0),
    ],
    columns=["start", "end", "threads", "starting_s", "compiling_s"],
)
EXPECTED = {
    "work of the jobs": 35.0, "compiling PySCo, once per environment": 20.0,
    "starting the jobs' processes": 7.0, "scheduling": 2.5,
    "waiting for other jobs": 15.5, "Snakemake: starting and scheduling": 9.5,
}  # fmt: skip


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_the_shares_of_a_schedule(order):
    found = summarise_overhead(SCHEDULE.iloc[order]).set_index("what")
    assert found["core_s"].to_dict() == pytest.approx(EXPECTED)
    assert found["share"].to_dict() == pytest.approx({k: v / 80 for k, v in EXPECTED.items()})


def test_jobs_of_an_earlier_run_do_not_count():
    earlier = SCHEDULE.assign(start=SCHEDULE["start"] - 1e4, end=SCHEDULE["end"] - 1e4, threads=3)
    found = summarise_overhead(pd.concat([SCHEDULE, earlier]))
    pd.testing.assert_frame_equal(found, summarise_overhead(SCHEDULE))


@pytest.mark.parametrize("power", ["emulator", "camb"])
def test_every_job_costs_once(power):
    config = resolved_config()
    config["simulate"]["chunk_size"] = chunk_sizes(config)
    plan = Plan(config | {"theory": config["theory"] | {"power": power}})
    emulator, files = plan.emulator_benchmarks(), plan.simulation_benchmarks()
    assert bool(emulator) == (power == "emulator") and set(emulator) <= set(files)
    files += plan.other_benchmarks()
    assert len(set(files)) == len(files)


JOB = """
import os, sys
from types import SimpleNamespace
from mflens.run.job import start_job
nothing = {name: {} for name in ("input", "output", "params", "wildcards")}
config = {"results_dir": os.getcwd(), "seed": 1}
start_job(SimpleNamespace(log=sys.argv[1:], rule="some_rule", threads=3, config=config, **nothing))
print(os.environ["OMP_NUM_THREADS"])
"""


def test_a_job_logs_what_its_start_took(tmp_path):
    log = tmp_path / "logs" / "job.log"
    command = [sys.executable, "-c", JOB, str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"
    threads, seconds, compiling = read_start(log)
    assert threads == 3 and 0 < seconds < 60 and compiling == 0
    log.write_text("[some_rule] nothing of the kind\n")
    assert read_start(log) == (1, 0.0, 0.0)
