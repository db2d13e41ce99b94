"""Random numbers of torch that depend on a seed alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give libraries that draw from torch's global stream a seed, and restore the stream."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def new_generator(seed: int) -> torch.Generator:
    """Return a generator of random numbers on the CPU with this seed."""
    return torch.Generator().manual_seed(seed)
