"""What every Snakemake job needs before it starts: a log, its threads, and short error messages."""

import ctypes
import logging
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from mflens.errors import MflensError
from mflens.files.provenance import ROOM, start_record, unwritable
from mflens.run.captions import describe_rule

QUIET = {"pysco", "healpy"}
PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when its parent dies
# of other errors that want of memory causes: in torch, the system, threads and late imports
NO_MEMORY = (
    "can't allocate memory", "Cannot allocate memory", "can't start new thread",
    "failed to map segment",
)  # fmt: skip
RUN = "MFLENS_RUN"  # variable with the process id of the run
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# What libraries read when a process starts, before `start_job`; jobs inherit it (common.smk)
LIBRARY_SETTINGS = {
    # idle threads must not spin for long on cores that other pools of threads or other jobs could
    # use: numba's may for a fifth of a millisecond, which lies between two loops, OpenBLAS's hardly
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "5000",
    "OPENBLAS_THREAD_TIMEOUT": "4",
    # glibc keeps freed meshes and maps below 32 MiB, the most it may, for the next ones: from the
    # system they come page by page
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
}


def start_job(snakemake: Any) -> None:
    """Log to file and terminal, use the rule's threads, and record where products come from.

    Parameters
    ----------
    snakemake
        The object that Snakemake gives to a script.
    """
    end_with_run()
    sys.excepthook = _report_error
    start_logging(snakemake.log[0], f"{snakemake.rule}")
    use_threads(int(snakemake.threads))
    start_record(snakemake, describe_rule)
    compiling = float(getattr(sys.modules.get("mflens.compiled"), "seconds", 0.0))
    settings = ", ".join(f"{name} {value}" for name, value in snakemake.wildcards.items())
    logging.info(
        "%s, threads: %d, started in %.2f s, compiled for %.2f s",
        settings or "start",
        snakemake.threads,
        time.process_time(),
        compiling,
    )


def read_start(path: str | os.PathLike[str]) -> tuple[int, float, float]:
    """Return the threads of a job and the CPU times (s) of its start and of compiling, by its log.

    The last is that of child processes, mostly those of `compile_functions` (`mflens.compiled`).
    """
    text = Path(path).read_text()
    found = re.search(r"threads: (\d+), started in ([\d.]+) s", text)
    compiling = sum(map(float, re.findall(r", compiled for ([\d.]+) s$", text, re.MULTILINE)))
    return (int(found[1]), float(found[2]), compiling) if found else (1, 0.0, 0.0)


def end_with_run() -> None:
    """Let this job end when its run is killed.

    The next run makes the product anew, perhaps from another config: a job left over from before
    must not overwrite it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if not Path("/proc", os.environ.get(RUN, "self")).exists():
            sys.exit("the run that started this job has ended")


def start_logging(path: str | os.PathLike[str], name: str) -> None:
    """Send log records both to the file at `path` and to the terminal, marked with `name`."""
    logging.raiseExceptions = False  # a log that cannot be written must not hide its message
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [
        logging.FileHandler(path, mode="w"),
        logging.StreamHandler(sys.stderr),
    ]
    for handler in handlers:
        handler.addFilter(_is_wanted)
    logging.basicConfig(
        level=logging.INFO, format=f"[{name}] %(message)s", handlers=handlers, force=True
    )


def _is_wanted(record: logging.LogRecord) -> bool:
    """Drop what libraries report of every transform and every time step."""
    chatty = not QUIET.isdisjoint(Path(record.pathname).parts)
    return record.levelno > logging.INFO or not chatty


def use_threads(threads: int) -> None:
    """Bind OpenMP, numba and torch to `threads` threads; call before they are imported."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "numba" in sys.modules:
        numba = sys.modules["numba"]
        # the variable must not change once threads run: the next compilation would refuse it
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    else:
        os.environ["NUMBA_NUM_THREADS"] = str(threads)


def _report_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Log errors that a user can mend as one sentence, all others with their traceback."""
    if said := _sentence(error):
        logging.error("%s", said)
    else:
        logging.error("unexpected error", exc_info=(kind, error, trace))


def _sentence(error: BaseException) -> str:
    """Return what to tell the user about an error, nothing if it is not theirs to mend."""
    if isinstance(error, MflensError):
        return str(error)
    if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
        return (
            "not enough memory for this job; run fewer at once (-c1), give it more mem_mb, or "
            "lower simulate.mesh.n_mesh, nside or chunk_size."
        )
    if isinstance(error, OSError) and (reason := unwritable(Path(), error)):
        return f"{error.filename} cannot be opened or written ({reason}); {ROOM}."
    return ""
