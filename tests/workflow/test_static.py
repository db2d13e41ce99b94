"""Linters, formatters and types, with the versions of the environment."""

import subprocess
import sys
from pathlib import Path

import pytest

from configs import ROOT

BIN = Path(sys.executable).parent
SNAKEFILES = ["Snakefile", *(str(p) for p in sorted((ROOT / "workflow/rules").glob("*.smk")))]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["snakefmt", "--check", *SNAKEFILES],
        ["mypy"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_clean(command):
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
