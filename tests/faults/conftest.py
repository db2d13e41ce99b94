"""The run that faults strike, and the table of what became of them."""

from pathlib import Path

import pytest

from damage import TINY
from runs import Runner

COLUMNS = ("fault", "tried", "survived", "lost", "what the user reads")
OUTCOMES = ("passed", "failed", "error", "skipped")


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


@pytest.fixture(autouse=True)
def fault(request, record_property) -> None:
    """Record the first line of a test's docstring, which says what it breaks."""
    variant = getattr(request.node, "callspec", None)
    text = (request.function.__doc__ or "").strip().splitlines()[0].rstrip(".")
    record_property("fault", f"{text} ({variant.id})" if variant else text)


def row(report: pytest.TestReport) -> list[str]:
    """Return the row of a test: how many faults it tried, and whether the run survived them."""
    seen = dict(report.user_properties)
    tried = 0 if report.skipped else seen.get("faults", 1)
    survived = tried if report.passed else 0
    said = report.longrepr[2] if report.skipped else seen.get("seen", "")
    cells = [seen["fault"], tried, survived, tried - survived, said]
    return [str(cell).replace("|", "\\|") for cell in cells]


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Print the table of faults, and write it where `--faults-table` says."""
    reports = [r for outcome in OUTCOMES for r in terminalreporter.stats.get(outcome, [])]
    rows = [row(r) for r in reports if "fault" in dict(r.user_properties)]
    lines = [f"| {' | '.join(r)} |" for r in [COLUMNS, ["---"] * len(COLUMNS), *sorted(rows)]]
    if rows:
        terminalreporter.section("faults")
        terminalreporter.write_line("\n".join(lines))
        if path := config.getoption("--faults-table"):
            Path(path).write_text("\n".join(lines) + "\n")
