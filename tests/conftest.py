"""Fixtures that all tests share."""

from pathlib import Path
from typing import Any

import pytest

from configs import ROOT, read_config


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", help="Markdown file for the table of faults")


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the repository."""
    return ROOT


@pytest.fixture
def config() -> dict[str, Any]:
    """Return the config of the smoke run, to be changed at will."""
    return read_config("smoke")
