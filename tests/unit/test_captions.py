"""Captions say what their figures were made of, whatever config is named or was run since."""

from types import SimpleNamespace

import jinja2
import pytest

from configs import ROOT, merge, read_config
from jobs import Named, job
from mflens.files import io
from mflens.files.provenance import (
    DESCRIPTIONS,
    hash_of_config,
    load_record,
    record_path,
    write_run_config,
)
from mflens.run.captions import DESCRIBED, describe_run
from mflens.run.run_folder import config_of_results, describe_results

TEMPLATES = ROOT / "workflow/report"
OTHER = {
    "ladder": ["gaussian", "lognormal", "lpt"],
    "simulate": {"sims": {"bulk": 333, "validation": 55, "pairs": 44, "test": 77}, "nside": 8},
    "infer": {"n_high": [11, 22], "n_folds": 3, "methods": ["prior", "linear", "transfer"]},
    "report": {"triangle_sims": 1},
}


def config(results, *overlays):
    made = read_config()
    for overlay in overlays:
        made = merge(made, overlay)
    return made | {"results_dir": str(results)}


def render(name, described):
    """Return a caption as Snakemake renders it, in one line; unknown names are errors."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    template = environment.from_string((TEMPLATES / f"{name}.rst").read_text())
    said = SimpleNamespace(config={DESCRIPTIONS: described})
    return " ".join(template.render(snakemake=said).split())


def make(results, made_with, rules=DESCRIBED):
    for rule in rules:
        with job(results, rule=rule, config=made_with, params=Named(code="abc")):
            io.write_json(results / rule / "a.json", {})


def test_captions_are_those_of_what_was_made(tmp_path):
    make(tmp_path, config(tmp_path, OTHER))
    found = describe_results(config(tmp_path))  # the defaults are named
    assert set(found) == set(DESCRIBED)
    said = render("workflow", {"tabulate_methods": found["tabulate_methods"]})
    for words in (
        "cheapest first: gaussian, lognormal, lpt.", "Simulations: 333 of the cheapest tier",
        "and 55 for validation, 44 pairs", "77 tests of the highest", "nside 8 ",
        "Methods: prior, linear, transfer, with 11, 22 expensive sims.",
    ):  # fmt: skip
        assert words in said
    assert "Calibration at 77 test sims with 22 expensive sims for training. Left" in render(
        "plot_calibration", found
    )
    assert "over 77 test sims," in render("plot_methods", found)
    assert "Posteriors of 1 test sim with 22 expensive sims for" in render("plot_posteriors", found)
    said = render("plot_training", found)
    assert "pretraining on 333 cheap sims" in said
    assert "of transfer there are 3, each of which leaves out" in said
    assert "paired" not in said and "mlmc" not in said


def test_of_a_run_that_did_not_finish_only_what_it_made(tmp_path):
    make(tmp_path, config(tmp_path, OTHER))
    later = config(tmp_path, {"simulate": {"sims": {"test": 99}}})
    write_run_config(later)
    make(tmp_path, later, ["plot_methods"])
    found = describe_results(later)
    assert "over 99 test sims" in render("plot_methods", found)
    assert "at 77 test sims" in render("plot_calibration", found)


def test_methods_that_train_are_described_as_they_are():
    """One network a fold, and the two steps of paired (`infer.methods`)."""
    described = describe_run(config("x", {"infer": {"n_folds": 5}}))
    said = render("plot_training", {"plot_training": described})
    assert "of high_only, transfer, mlmc there are 5, each of which leaves out another" in said
    assert "The 5 flows of paired train at once" in said
    assert "MLMC is one" not in said


def test_without_expensive_sims():
    alone = {"infer": {"methods": ["prior", "low_only"]}}
    described = dict.fromkeys(DESCRIBED, describe_run(config("x", alone)))
    said = {name: render(name, described) for name in (*DESCRIBED[:-1], "workflow")}
    for name in ("plot_posteriors", "plot_calibration"):
        assert "expensive sims for training" not in said[name]
    assert "Methods: prior, low_only. Maps" in said["workflow"]
    assert "One pair of lines" not in said["plot_training"]


def test_a_report_of_a_task_alone_says_nothing_of_lensing_sims(tmp_path):
    assert describe_results(config(tmp_path)) == {}
    for described in ({}, describe_results(config(tmp_path))):
        said = render("workflow", {"tabulate_methods": None, **described})
        assert "Ladder" not in said and "NLPD" in said


@pytest.mark.parametrize("damage", ["older", "damaged"])
def test_records_that_do_not_know_leave_it_to_the_config(tmp_path, damage):
    make(tmp_path, config(tmp_path, OTHER), ["plot_methods"])
    path = record_path(tmp_path, tmp_path / "plot_methods/a.json")
    if damage == "older":
        with job(tmp_path, rule="other"):
            io.write_json(tmp_path / "plot_methods/a.json", {})
        assert "run" not in load_record(path)
    else:
        path.write_text("{")
    now = config(tmp_path)
    assert describe_results(now) == {"plot_methods": describe_run(now)}


def test_a_report_reads_the_config_of_the_results(tmp_path):
    now, folder = config(tmp_path), str(tmp_path)
    line = ["snakemake", "-c1", "--report", "report.zip"]
    assert config_of_results(now, line) == []  # nothing has been run there
    write_run_config(config(tmp_path, OTHER))
    expected = [(f"{folder}/run.yaml", folder)]
    assert config_of_results(now, line) == expected
    assert config_of_results(now, ["snakemake", "--report=report.html"]) == expected
    assert config_of_results(now, ["snakemake", "--report"]) == expected
    # what runs says what it runs
    assert config_of_results(now, [*line, "--report-after-run"]) == []
    assert config_of_results(now, ["snakemake", "-c1", "report.zip"]) == []
    # another workflow that uses this one as a module reads no config files of it
    assert config_of_results({}, line) == []


def test_descriptions_are_no_part_of_the_config(tmp_path):
    now = config(tmp_path)
    assert hash_of_config(now | {DESCRIPTIONS: {"a": 1}}) == hash_of_config(now)
