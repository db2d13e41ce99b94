"""Snakemake runs for the tests: a copy of the repository, run from another folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cluster import SETTINGS, Cluster
from configs import ROOT

KEPT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".snakemake", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "results"
)


class Runner:
    """Runs a copy of the workflow, package included, in a folder of its own.

    The copy may be edited: it comes before the installed package on the path. With a cluster, its
    jobs go there.
    """

    def __init__(self, folder: Path, name: str = "run", cluster: Cluster | None = None) -> None:
        self.cluster = cluster
        self.repository = folder / "repository"
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        if not self.repository.exists():
            shutil.copytree(ROOT, self.repository, ignore=KEPT_OUT)

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.folder / "results"

    def overlay(self, config: dict[str, Any]) -> str:
        """Write an overlay and return its path."""
        path = self.folder / f"overlay_{len(list(self.folder.glob('overlay_*')))}.yaml"
        path.write_text(yaml.safe_dump(config))
        return str(path)

    def command(self, *arguments: str, configs: Sequence[str] = ("smoke",)) -> list[str]:
        """Return a command line on two cores, or a cluster; configs are in `config/` or paths."""
        files = [
            name if "/" in name else f"{self.repository}/config/{name}.yaml" for name in configs
        ]
        program = [str(ROOT / "tests/impatient.py")] if self.cluster else ["-m", "snakemake"]
        line = [sys.executable, *program, "-s", f"{self.repository}/Snakefile"]
        line += list(SETTINGS) if self.cluster else ["-c2"]
        profile = "slurm" if self.cluster else "default"
        line += ["--workflow-profile", f"{self.repository}/workflow/profiles/{profile}"]
        return [*line, *arguments, *(["--configfile", *files] if files else [])]

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which the copied package comes first."""
        paths = [str(self.repository / "workflow"), str(self.folder)]
        base = self.cluster.environment if self.cluster else os.environ
        return base | {"PYTHONPATH": os.pathsep.join(paths)}

    def start(self, *arguments: str, configs: Sequence[str] = ("smoke",)) -> subprocess.Popen[str]:
        """Start a run in a process group of its own, its output in `run.log`."""
        with open(self.folder / "run.log", "a") as log:
            return subprocess.Popen(
                self.command(*arguments, configs=configs),
                **{"cwd": self.folder, "env": self.environment, "text": True},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __call__(
        self, *arguments: str, configs: Sequence[str] = ("smoke",), succeeds: bool = True
    ) -> str:
        """Run to the end and return what it printed."""
        done = subprocess.run(
            self.command(*arguments, configs=configs),
            **{"cwd": self.folder, "env": self.environment, "text": True},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert (done.returncode == 0) is succeeds, done.stdout[-5000:]
        return done.stdout
