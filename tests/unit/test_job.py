"""What a job tells its user when it fails, and that it ends with its run."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from mflens.errors import DataError
from mflens.files.provenance import atomic
from mflens.run import job


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), ["memory", "mem_mb", "-c1"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ["memory", "mem_mb"]),
        (ImportError("h5.so: failed to map segment from shared object"), ["memory", "mem_mb"]),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ["memory", "mem_mb"]),
        (OSError(errno.ENOSPC, "no", "results/x.log"), ["results/x.log", "No space left", "room"]),
        (DataError("a.h5 is empty; delete it."), ["a.h5 is empty; delete it."]),
    ],
    ids=["memory", "tensor", "import", "fork", "disk", "data"],
)
def test_errors_that_a_user_can_mend_are_sentences(error, words):
    said = job._sentence(error)
    assert all(word in said for word in words) and said.endswith(".") and "\n" not in said


def test_other_errors_keep_their_traceback():
    assert job._sentence(RuntimeError("a bug")) == ""
    assert job._sentence(FileNotFoundError(errno.ENOENT, "no", "x")) == ""


def test_a_full_disk_is_named_by_the_file(tmp_path):
    path = tmp_path / "x.csv"
    expected = r"x\.csv cannot be written \(No space left"
    with pytest.raises(DataError, match=expected) as refused, atomic(path) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "make room" in str(refused.value)
    assert list(tmp_path.iterdir()) == []


CHILD = """
import subprocess, sys, time
code = "from mflens.run.job import end_with_run; end_with_run(); print('ready', flush=True)"
subprocess.Popen([sys.executable, "-c", code + "; import time; time.sleep(60)"])
time.sleep(60)
"""


def test_a_job_ends_with_its_run():
    run = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None and run.stdout.readline() == "ready\n"
    run.send_signal(signal.SIGKILL)
    run.wait()
    # the job held the other end of the pipe
    start = time.monotonic()
    assert run.stdout.read() == ""
    assert time.monotonic() - start < 30


def test_a_job_of_a_run_that_has_ended_does_not_start():
    ended = subprocess.Popen(["true"])
    ended.wait()
    done = subprocess.run(
        [sys.executable, "-c", "from mflens.run.job import end_with_run; end_with_run()"],
        env=os.environ | {job.RUN: str(ended.pid)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "has ended" in done.stderr
