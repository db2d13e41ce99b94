"""The published tasks as their users meet them: dry runs, a tiny run, seeds and bad configs."""

import re

import numpy as np
import pandas as pd
import pytest

from configs import TASKS
from mflens.files.io import read_groups
from mflens.tasks.ablations import ABLATION_COLUMNS
from mflens.tasks.allocation import ALLOCATION_COLUMNS
from mflens.tasks.tables import COMPARISON_COLUMNS, METHOD_COLUMNS
from runs import Runner
from spectra import write_spectra

pytestmark = pytest.mark.workflow

STEPS = ["simulate_task_tiers", "finetune_task_methods", "score_task_methods"]
REFERENCE = "sample_task_reference"
NOTHING = "Nothing to be done"
TINY = {
    "repetitions": 2,
    "n_folds": 2,
    "training": {"max_epochs": 2},
    "correction": {"max_epochs": 2},
    "mlmc": {"steps": 3},
    "evaluate": {"n_samples": 50, "n_reference": 3, "n_reference_samples": 50, "n_examples": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tasks")


def task_overlay(runner, task, content):
    return runner.overlay({"tasks": {task: content}})


def spectra_overlay(runner):
    write_spectra(runner.folder / "spectra")
    return task_overlay(runner, "camels", {"options": {"path": "spectra"}})


def jobs(printed):
    """Return the table of jobs that a dry run prints."""
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)}


@pytest.mark.parametrize("task", TASKS)
def test_dry_run_of_every_target(folder, task):
    runner = Runner(folder, f"dry_{task}")
    printed = runner("-n", task, configs=[spectra_overlay(runner)])
    found = jobs(printed)
    assert set(STEPS) <= set(found)
    assert (REFERENCE in found) == (task != "camels")
    others = {rule for rule in found if "_task_" not in rule} - {task, "total"}
    assert others == set(), "the lensing run is not part of it"
    for sentence in (
        f"Draw the sims of all repetitions of {task}, ",
        f"Put the scores of all methods on {task} into tables, with paired differences.",
        f"Tables and figures of the published task {task} are complete.",
    ):
        assert sentence in printed


def test_missing_spectra_are_one_sentence_before_any_job(folder):
    runner = Runner(folder, "missing")
    overlay = task_overlay(runner, "camels", {"options": {"path": "no/where"}})
    words = ["tasks.camels.options.path", "'no/where'", "give"]
    for arguments in (["-n"], []):
        printed = runner(*arguments, "camels", configs=[overlay], succeeds=False)
        assert any(all(word in line for word in words) for line in printed.splitlines()), printed
    assert not runner.results.exists(), "nothing ran"
    # whoever does not ask for this task does not need the files
    runner("-n", "g_and_k", configs=[overlay])
    runner("-n", configs=[overlay])


@pytest.mark.parametrize(
    ("task", "content", "words"),
    [
        ("g_and_k", {"repetition": 20}, ["tasks.g_and_k.repetition", "'repetitions'"]),
        ("toggle_switch", {"methods": ["pared"]}, ["tasks.toggle_switch.methods", "'paired'"]),
        (
            "g_and_k",
            {"experiments": {"nle": {"runs": {"pairs_50": {"levels": [99, 99, 99]}}}}},
            ["pairs_50.levels", "3"],
        ),
    ],
)
def test_bad_config_is_one_sentence(folder, task, content, words):
    runner = Runner(folder, f"bad_{words[0]}")
    overlay = task_overlay(runner, task, content)
    printed = runner("-n", task, configs=[overlay], succeeds=False)
    assert any(all(word in line for word in words) for line in printed.splitlines()), printed
    assert "Traceback" not in printed


def test_other_seed_other_sims(folder):
    file = "results/ornstein_uhlenbeck/simulate_tiers/x_0.h5"
    theta = {}
    for seed in (1, 7):
        runner = Runner(folder, f"seed_{seed}")
        overlay = task_overlay(runner, "ornstein_uhlenbeck", TINY)
        runner(file, "--config", f"seed={seed}", configs=[overlay])
        theta[seed] = read_groups(runner.folder / file)[0]["bulk"]["theta"]
    assert theta[1].shape == theta[7].shape == (2, 1000, 4)
    assert not np.isin(theta[1], theta[7]).any()


@pytest.fixture(scope="module")
def tiny(folder):
    """Return a finished run of a task with few sims, and its overlay."""
    runner = Runner(folder, "tiny")
    sizes = {"published": ("pairs_10", "pairs_50", "pairs_100"), "x_0": ("pairs_100",)}
    experiments = {
        experiment: {
            "test": 6,
            "runs": {label: {"levels": [60, 20 + 4 * i]} for i, label in enumerate(labels)},
        }
        for experiment, labels in sizes.items()
    }
    design = {
        "allocation": {"pilot": {"bulk": 60, "pairs": 20, "training": {"max_epochs": 2}}},
        "ablations": {
            "levels": [60, 20], "repetitions": 2, "test": 4, "training": {"max_epochs": 2},
        },
    }  # fmt: skip
    content = TINY | {"experiments": experiments} | design
    overlay = task_overlay(runner, "ornstein_uhlenbeck", content)
    runner("ornstein_uhlenbeck", configs=[overlay])
    return runner, overlay


class TestTinyRun:
    """What a task leaves behind, and what a second run does."""

    def test_tables(self, tiny, config):
        results = tiny[0].results / "ornstein_uhlenbeck/tabulate_methods"
        table = pd.read_csv(results / "methods.csv")
        assert list(table.columns) == METHOD_COLUMNS
        assert set(table["method"]) == set(config["tasks"]["ornstein_uhlenbeck"]["methods"])
        assert set(table["levels"]) == {"60/20", "60/24", "60/28"}
        assert (table["repetitions"] == 2).all()
        assert not table.duplicated(["experiment", "method", "levels", "metric"]).any()
        numbers = table[["mean", "error", "median", "q95", "n_low", "n_high"]]
        assert np.isfinite(numbers).all(axis=None)
        compared = pd.read_csv(results / "comparison.csv")
        assert list(compared.columns) == COMPARISON_COLUMNS
        assert set(compared["other"]) == set(table["method"]) - {"paired"}
        assert (results / "methods.md").read_text().startswith("| experiment |")
        assert "paired − mlmc" in (results / "comparison.md").read_text()

    def test_design(self, tiny):
        results = tiny[0].results / "ornstein_uhlenbeck"
        table = pd.read_csv(results / "tabulate_allocation/allocation.csv")
        assert list(table.columns) == ALLOCATION_COLUMNS
        assert {"pairs_100", "planned_raw", "planned_translated"} <= set(table["allocation"])
        log = tiny[0].results / "logs/ornstein_uhlenbeck/tabulate_allocation/allocation.log"
        assert "planned_translated" in log.read_text()
        table = pd.read_csv(results / "tabulate_ablations/ablations.csv")
        assert list(table.columns) == ABLATION_COLUMNS
        assert set(table["ablation"]) == {"seed_matching"}
        assert len(set(table["setting"])) == 3

    def test_every_figure_is_pdf_and_png(self, tiny):
        figures = list((tiny[0].results / "ornstein_uhlenbeck").glob("plot_*/*"))
        assert len(figures) == 2 * (1 + 3 * 2 + 1)
        for path in figures:
            assert path.read_bytes()[:4] == {".pdf": b"%PDF", ".png": b"\x89PNG"}[path.suffix]

    def test_every_rule_logs(self, tiny):
        logs = list((tiny[0].results / "logs/ornstein_uhlenbeck").rglob("*.log"))
        assert len(logs) == 2 + 2 + 4 + 4 + 1 + 7 + 5
        assert [path for path in logs if path.stat().st_size == 0] == []

    def test_report(self, tiny):
        """Of what has been run, without its config on the command line."""
        runner, _ = tiny
        runner("ornstein_uhlenbeck", "--report", "report.html", configs=[])
        page = runner.folder / "report.html"
        assert page.stat().st_size > 100_000
        assert "Ladder of tiers" not in page.read_text(), "no lensing sims were made"

    def test_second_run_does_nothing(self, tiny):
        runner, overlay = tiny
        assert NOTHING in runner("ornstein_uhlenbeck", configs=[overlay])
