"""Run a case in processes of its own, which do nothing else and have their threads from birth.

Each process is `python -m mflens.benchmarks.alone`: it reads its case as JSON, prepares, says so,
waits for a word to start, measures and prints what it found.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mflens.errors import DataError
from mflens.run.job import LIBRARY_SETTINGS, THREAD_VARIABLES


def run(
    case: str, options: Mapping[str, Any], threads: int = 1, processes: int = 1
) -> list[dict[str, float]]:
    """Measure a case in several processes at the same time.

    Parameters
    ----------
    case
        Name of a class of `mflens.benchmarks.cases`.
    options
        Its arguments.
    threads
        Threads of each process.
    processes
        How many of them run side by side.

    Returns
    -------
    list
        What each process measured, with `peak_rss_gib`, its largest memory.
    """
    variables = dict.fromkeys([*THREAD_VARIABLES, "NUMBA_NUM_THREADS"], str(threads))
    variables |= LIBRARY_SETTINGS
    command = [sys.executable, "-m", "mflens.benchmarks.alone"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children: list[Any] = [
        subprocess.Popen(command, env=os.environ | variables, **pipes) for _ in range(processes)
    ]
    for word in (json.dumps([case, dict(options)]), "start"):
        for child in children:
            # one that has failed no longer listens
            with suppress(BrokenPipeError):
                print(word, file=child.stdin, flush=True)
        answers = [child.stdout.readline() for child in children if child.stdout]
    codes = [child.wait() for child in children]
    if any(codes):
        raise DataError(f"the benchmark '{case}' failed with {dict(options)}; see its log above.")
    return [json.loads(answer) for answer in answers]


def main() -> None:
    """Serve one `run`."""
    from mflens.benchmarks import cases

    case, options = json.loads(sys.stdin.readline())
    # libraries may print: only the answers go to the parent
    answers, sys.stdout = sys.stdout, sys.stderr
    prepared = getattr(cases, case)(**options)
    print("ready", file=answers, flush=True)
    sys.stdin.readline()
    found = prepared.measure()
    # kilobytes on Linux
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps(found | {"peak_rss_gib": peak}), file=answers, flush=True)


if __name__ == "__main__":
    main()
