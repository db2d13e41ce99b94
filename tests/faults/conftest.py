"""The runs that faults strike, and the table of what became of them."""

from pathlib import Path

import pytest

from damage import TINY
from runs import Runner


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="session")
def tiny(folder) -> tuple[Runner, list[str]]:
    """Return an uninterrupted run and its configs."""
    runner = Runner(folder, "tiny")
    configs = ["smoke", runner.overlay(TINY)]
    # the scripts stay: each is a job as Snakemake starts it
    runner("--skip-script-cleanup", configs=configs)
    return runner, configs
