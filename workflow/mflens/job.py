"""What every Snakemake job needs before it starts: a log, its threads, and short error messages."""

import logging
import os
import re
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from mflens.errors import MflensError

QUIET = {"pysco", "healpy"}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# numba's threads would spin between loops, on cores that ducc0's, scipy's or other jobs could use
WAIT_POLICY = {"OMP_WAIT_POLICY": "PASSIVE"}


def start_job(snakemake: Any) -> None:
    """Log to the rule's log file and the terminal, and use the rule's number of threads.

    Parameters
    ----------
    snakemake
        The object that Snakemake gives to a script.
    """
    start_logging(snakemake.log[0], f"{snakemake.rule}")
    use_threads(int(snakemake.threads))
    sys.excepthook = _report_error
    settings = ", ".join(f"{name} {value}" for name, value in snakemake.wildcards.items())
    logging.info(
        "%s, threads: %d, started in %.2f s",
        settings or "start",
        snakemake.threads,
        time.process_time(),
    )


def read_start(path: str | os.PathLike[str]) -> tuple[int, float]:
    """Return the threads of a job and the CPU time of its start (s), from its log."""
    found = re.search(r"threads: (\d+), started in ([\d.]+) s", Path(path).read_text())
    return (int(found[1]), float(found[2])) if found else (1, 0.0)


def start_logging(path: str | os.PathLike[str], name: str) -> None:
    """Send log records both to the file at `path` and to the terminal, marked with `name`."""
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
    os.environ.update(WAIT_POLICY)
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
    """Log errors meant for the user as their sentence alone, all others with their traceback."""
    if issubclass(kind, MflensError):
        logging.error("%s", error)
    else:
        logging.error("unexpected error", exc_info=(kind, error, trace))
