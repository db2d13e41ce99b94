"""The smoke run, which several files of tests look at."""

import pytest

from runs import Runner


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Runner:
    """Return the finished smoke run."""
    runner = Runner(tmp_path_factory.mktemp("smoke"), "smoke")
    runner()
    return runner
