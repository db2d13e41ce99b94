"""What Snakemake itself costs: a schedule whose shares are known."""

import logging
import os
from types import SimpleNamespace

import pandas as pd
import pytest

from mflens.cost import summarise_overhead
from mflens.job import read_start, start_job

# two cores; the last job waits for both others
SCHEDULE = pd.DataFrame(
    [(0.0, 10.0, 1, 1.0), (0.0, 30.0, 1, 2.0), (10.5, 14.5, 1, 1.0), (31.0, 40.0, 2, 3.0)],
    columns=["start", "end", "threads", "starting_s"],
)
EXPECTED = {
    "work of the jobs": 55.0, "starting the jobs' processes": 7.0, "scheduling": 2.5,
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


def test_a_job_logs_what_its_start_took(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.excepthook", None)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    log = tmp_path / "logs" / "job.log"
    job = SimpleNamespace(log=[str(log)], rule="some_rule", threads=1, wildcards={"chunk": "3"})
    before = logging.getLogger().handlers[:]
    start_job(job)
    logging.getLogger().handlers[:] = before
    threads, seconds = read_start(log)
    assert threads == 1 and 0.1 < seconds < 1000
    log.write_text("[some_rule] nothing of the kind\n")
    assert read_start(log) == (1, 0.0)
