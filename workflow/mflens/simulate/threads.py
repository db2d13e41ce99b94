"""The threads of a job, for work that releases Python's lock: ducc0's transforms, numpy's draws.

Their results are the same for any number of threads.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any


def n_threads() -> int:
    """Return how many threads this job has (`job.use_threads`)."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def spread(work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Return work(item) of all items in their order, done by all threads of the job.

    `work` must not call `spread`, nor compiled loops that have threads of their own.
    """
    n = n_threads()
    return list(map(work, items) if n == 1 else _pool(n).map(work, items))


@cache
def _pool(n: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n)
