"""The folder of a run's results: one run at a time, and no file from the future."""

import fcntl
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from mflens.errors import ConfigError, DataError
from mflens.files.provenance import FOLDER, RUN_CONFIG, load_record, write_run_config
from mflens.run.captions import DESCRIBED, describe_run

STEP_NS = 1000  # between two time stamps; Snakemake reads them to a quarter of a microsecond
AFTER_A_FAILURE = (
    "What is finished is kept: mend what the messages above name, then run the same command again. "
    "A job that ended without a message was killed, most often for want of memory."
)


def open_results(config: Mapping[str, Any], *, record: bool) -> TextIO:
    """Take the results folder of a run, and write the config to it if it is to be recorded.

    Returns
    -------
    TextIO
        The lock, which ends when it is closed.

    Raises
    ------
    MflensError
        If another run is writing to the folder, or nobody can.
    """
    lock = claim(config["results_dir"])
    forget_the_future(config["results_dir"])
    if record:
        write_run_config(config)
    return lock


def claim(folder: str) -> TextIO:
    """Take the folder for this run, until the returned file is closed or the process ends.

    Raises
    ------
    ConfigError
        If another run is writing to the folder, or nobody can.
    """
    path = Path(folder, ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path, "w")  # noqa: SIM115 (held until the run ends)
        # dies with the process, so that a killed run never blocks the next one
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"results_dir: another run is writing to '{folder}'; wait for it or stop it."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"results_dir: '{folder}' cannot be written ({error.strerror}); mend that or name "
            "another folder."
        ) from None
    return lock


def forget_the_future(folder: str) -> int:
    """Give files that a clock since set back calls newer than now the time now.

    Snakemake fails every job whose product is older than its input. The order of the time stamps
    stays what it is.

    Returns
    -------
    int
        Number of files changed.
    """
    now = time.time_ns()
    stamps = {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*")}
    late = sorted({stamp for stamp in stamps.values() if stamp > now})
    order = {stamp: rank for rank, stamp in enumerate(late)}
    changed = {path: order[stamp] for path, stamp in stamps.items() if stamp in order}
    for path, rank in changed.items():
        stamp = now - (len(late) - rank) * STEP_NS
        os.utime(path, ns=(stamp, stamp))
    return len(changed)


def config_of_results(config: Mapping[str, Any], arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Return config and folder of the results that a command line wants a report of.

    Parameters
    ----------
    config
        What the command line says, over the defaults: it says where the results are.
    arguments
        The command line.

    Returns
    -------
    list
        `run.yaml` of the results and their folder, which may have been moved since; nothing where
        the command line asks for no report or, with `--report-after-run`, says what to run first.
    """
    options = {word.partition("=")[0] for word in arguments}
    folder = str(config.get("results_dir", ""))
    written = Path(folder, RUN_CONFIG)
    asked = "--report" in options and "--report-after-run" not in options
    return [(str(written), folder)] if asked and folder and written.is_file() else []


def describe_results(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return, by rule, what captions say of the run that made the products that are there.

    Their records know it, whatever config has been run or named since.
    """
    found: dict[str, Any] = {}
    for rule in DESCRIBED:
        for path in sorted(Path(config["results_dir"], FOLDER, rule).glob("*.json")):
            found[rule] = describe_run(config)
            with suppress(DataError, KeyError):
                found[rule] = load_record(path)["run"]
                break
    return found
