"""The workflow as its users meet it: dry runs, the smoke run, edits, kills and bad configs."""

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs import ROOT, TASKS
from mflens.io import read_chunks
from runs import Runner

pytestmark = pytest.mark.workflow

OVERLAYS = sorted({path.stem for path in (ROOT / "config").glob("*.yaml")} - set(TASKS))
LADDERS = [
    ["lognormal", "lpt"],
    ["lognormal", "particle_mesh"],
    ["lognormal", "lpt", "particle_mesh"],
]
NOTHING = "Nothing to be done"
METHODS_COLUMNS = [
    "method", "n_high", "n_test", "nlpd", "nlpd_error", "nlpd_minus_prior", "coverage_50",
    "coverage_68", "coverage_90", "coverage_95", "tarp_error", "tarp_null_95", "figure_of_merit",
    "cost_core_s",
]  # fmt: skip
PAIRING_COLUMNS = [
    "low",
    "high",
    "bin",
    "ell_min",
    "ell_max",
    "r_matched",
    "r_unmatched",
    "power_ratio",
]
COST_COLUMNS = ["rule", "tier", "jobs", "core_s", "max_rss_mb"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("workflow")


@pytest.fixture(scope="module")
def smoke(folder) -> Runner:
    """Return the finished smoke run."""
    runner = Runner(folder, "smoke")
    runner()
    return runner


def jobs(printed: str) -> dict[str, int]:
    """Return the table of jobs that a dry run prints."""
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)}


def test_lint(folder):
    printed = Runner(folder, "lint")("--lint")
    assert "Congratulations" in printed, printed


@pytest.mark.parametrize("name", OVERLAYS)
def test_dry_run_of_every_config(folder, name):
    found = jobs(Runner(folder, f"dry_{name}")("-n", configs=[name]))
    assert found["simulate_maps"] > 3
    assert found["finetune_compressor"] > 3


@pytest.mark.parametrize("ladder", LADDERS, ids="-".join)
def test_dry_run_of_every_ladder(folder, ladder):
    runner = Runner(folder, "dry_" + "_".join(ladder))
    printed = runner("-n", configs=["smoke", runner.overlay({"ladder": ladder})])
    for low, high in zip(ladder, ladder[1:], strict=False):
        assert f"results/simulate_maps/{low}/pairs_{high}/0.h5" in printed
        assert f"results/simulate_maps/{high}/pairs_{high}/0.h5" in printed
    assert "results/simulate_maps/lognormal/test" not in printed


@pytest.mark.slow
@pytest.mark.parametrize("ladder", [LADDERS[0], LADDERS[2]], ids="-".join)
def test_other_ladders_run(folder, ladder):
    runner = Runner(folder, "run_" + "_".join(ladder))
    runner(configs=["smoke", runner.overlay({"ladder": ladder})])
    table = pd.read_csv(runner.results / "tabulate_methods/methods.csv")
    assert np.isfinite(table["nlpd"]).all()


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        ({"simulate": {"nsid": 64}}, ["simulate.nsid", "64", "'nside'"]),
        ({"infer": {"n_high": [4096]}}, ["infer.n_high", "4096", "simulate.sims.pairs"]),
        ({"ladder": ["lognormal", "nbody"]}, ["ladder", "'nbody'"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_config_is_one_sentence(folder, overlay, words):
    runner = Runner(folder, f"bad_{next(iter(overlay))}")
    printed = runner(configs=["smoke", runner.overlay(overlay)], succeeds=False)
    assert any(all(word in line for word in words) for line in printed.splitlines()), printed
    assert "Traceback" not in printed
    assert not runner.results.exists(), "nothing ran"


class TestSmokeRun:
    """What the smoke run leaves behind, and what a second run does."""

    @pytest.mark.parametrize(
        ("table", "columns"),
        [
            ("tabulate_methods/methods", METHODS_COLUMNS),
            ("tabulate_pairing/pairing", PAIRING_COLUMNS),
            ("tabulate_cost/cost", COST_COLUMNS),
            ("tabulate_cost/overhead", ["what", "core_s", "share"]),
        ],
    )
    def test_tables(self, smoke, table, columns):
        frame = pd.read_csv(smoke.results / f"{table}.csv")
        assert list(frame.columns) == columns
        assert len(frame) > 0
        assert (smoke.results / f"{table}.md").is_file()

    def test_every_method_is_scored(self, smoke, config):
        table = pd.read_csv(smoke.results / "tabulate_methods/methods.csv")
        assert set(table["method"]) == set(config["infer"]["methods"])
        assert not table.duplicated(["method", "n_high"]).any()
        assert np.isfinite(table.drop(columns="method")).all(axis=None)
        assert (table["n_test"] == config["simulate"]["sims"]["test"]).all()
        assert (table.query("method != 'prior'")["cost_core_s"] > 0).all()

    def test_every_figure_is_pdf_and_png(self, smoke):
        figures = [p for p in smoke.results.glob("plot_*/**/*") if p.is_file()]
        assert len(figures) > 6
        for path in figures:
            start = path.read_bytes()[:4]
            assert start == {".pdf": b"%PDF", ".png": b"\x89PNG"}[path.suffix]
            other = {".pdf": ".png", ".png": ".pdf"}[path.suffix]
            assert path.with_suffix(other) in figures

    def test_every_rule_logs(self, smoke):
        logs = [p for p in (smoke.results / "logs").rglob("*.log") if p.stat().st_size == 0]
        assert logs == []

    def test_report(self, smoke):
        smoke("--report", "report.html")
        assert (smoke.folder / "report.html").stat().st_size > 100_000

    def test_second_run_does_nothing_even_when_all_is_touched(self, smoke):
        assert NOTHING in smoke()
        for path in [*smoke.results.rglob("*"), *smoke.repository.rglob("*")]:
            os.utime(path)
        assert NOTHING in smoke("-n")

    def test_edits_rerun_what_they_change(self, smoke):
        package = smoke.repository / "workflow/mflens"
        kept = {p: p.read_text() for p in (package / "infer/training.py", package / "io.py")}
        training, reader = kept
        training.write_text(kept[training] + "\nEDITED = True\n")
        reader.write_text(kept[reader] + "\n# a comment changes nothing\n")
        try:
            found = jobs(smoke("-n"))
        finally:
            for path, text in kept.items():
                path.write_text(text)
        assert {"pretrain_compressor", "finetune_compressor", "tabulate_methods"} <= set(found)
        untouched = {"draw_parameters", "compute_kernels", "simulate_maps", "measure_spectra"}
        assert untouched & set(found) == set()


def wait_for(condition: Callable[[], object], process, seconds: float) -> None:
    """Wait until the condition holds while the process runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.05)


def test_killed_runs_complete_with_the_same_results(folder, smoke):
    """Kill in simulation and in training; other chunks and one core must not matter either."""
    runner = Runner(folder, "killed")
    chunks = {"simulate": {"chunk_size": {"bulk": 16, "pairs": 4, "test": 8}}}
    configs = ["smoke", runner.overlay(chunks)]
    groups = []

    def running(rule: str) -> bool:
        return any((runner.results / "logs" / rule).rglob("*.log"))

    try:
        process = runner.start("--cores", "1", configs=configs)
        groups.append(process.pid)
        wait_for(lambda: running("simulate_maps"), process, 300)
        # the scheduler alone: its job lives on while the next run starts
        process.kill()
        process.wait()

        process = runner.start(configs=configs)
        groups.append(process.pid)
        wait_for(lambda: running("finetune_compressor/mlmc"), process, 600)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

        runner(configs=configs)
    finally:
        for group in groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
    assert NOTHING in runner("-n", configs=configs)
    for split in sorted((smoke.results / "simulate_maps").glob("*/*")):
        place = split.relative_to(smoke.results)
        expected, found = (
            read_chunks(sorted((r.results / place).glob("*.h5")), ["theta", "maps", "pixel"])
            for r in (smoke, runner)
        )
        for name, values in expected.items():
            assert np.asarray(values).tobytes() == np.asarray(found[name]).tobytes(), (place, name)
    expected, found = (
        pd.read_csv(r.results / "tabulate_methods/methods.csv").drop(columns="cost_core_s")
        for r in (smoke, runner)
    )
    pd.testing.assert_frame_equal(expected, found)


def test_two_runs_at_once_are_refused(smoke):
    """The lock of a living run holds; `test_killed_runs` shows that a dead one's does not."""
    import fcntl

    with open(smoke.results / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        printed = smoke("--forcerun", "tabulate_cost", succeeds=False)
    assert "another run" in printed
    assert "Traceback" not in printed
