"""The workflow as its users meet it: dry runs, the smoke run, edits and bad configs."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs import ROOT, TASKS
from mflens.files.provenance import hash_of
from mflens.run.job import LIBRARY_SETTINGS, read_start
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


def jobs(printed: str) -> dict[str, int]:
    """Return the table of jobs that a dry run prints."""
    return {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)}


def test_lint(folder):
    printed = Runner(folder, "lint")("--lint")
    assert "Congratulations" in printed, printed


def test_jobs_have_their_libraries_settings_before_they_import_anything(tmp_path):
    runner = Runner(tmp_path)
    script = runner.repository / "scripts/draw_parameters.py"
    report = "import json, os\njson.dump(dict(os.environ), open('variables.json', 'w'))\n"
    script.write_text(report + script.read_text())
    runner("draw_parameters")
    variables = json.loads((runner.folder / "variables.json").read_text())
    assert variables | LIBRARY_SETTINGS == variables


@pytest.mark.parametrize("name", OVERLAYS)
def test_dry_run_of_every_config(folder, name):
    found = jobs(Runner(folder, f"dry_{name}")("-n", configs=[name]))
    assert found["simulate_maps"] + found["simulate_costly_maps"] > 3
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

    def test_a_report_describes_the_results(self, smoke):
        """Whatever config its command line names, and as one page or as an archive."""
        other = smoke.overlay(
            {"simulate": {"sims": {"bulk": 96, "test": 13}}, "infer": {"n_folds": 3}}
        )
        page = smoke.folder / "report.html"
        smoke("--report", "report.html", configs=["smoke", other])
        named = page.read_text()
        smoke("--report", "report.zip", configs=[])
        with zipfile.ZipFile(smoke.folder / "report.zip") as archive:
            (inside,) = (name for name in archive.namelist() if name.endswith("report.html"))
            unnamed = archive.read(inside).decode()
        for text in (named, unnamed):
            said = " ".join(text.replace("\\n", " ").split())
            for words in (
                "cheapest first: lognormal, particle_mesh. Simulations: 48 of the cheapest tier "
                "for training and 16 for validation, 8 pairs of every two neighbouring tiers, 12 "
                "tests of the highest tier.",
                "expensive sims. Maps have HEALPix nside 16 and 2 source bins",
                "of pretraining on 48 cheap sims and of every method",
                "of high_only, transfer, mlmc there are 2, each of which leaves out another share",
                "Posteriors of 2 test sims with 8 expensive sims for training;",
                "Calibration at 12 test sims with 8 expensive sims for training.",
                "Error bars are standard errors over 12 test sims,",
            ):
                assert words in said
        # and its lists of parameters and rules are those of the run
        assert "triangle_sims=2" in unnamed and "triangle_sims=3" not in unnamed

    def test_one_job_compiles(self, smoke):
        """The copy of the package starts with nothing compiled; all jobs wait for one that does."""
        logs = smoke.results / "logs"
        compiling = {p.relative_to(logs).parts[0] for p in logs.rglob("*.log") if read_start(p)[2]}
        assert compiling == {"compile_functions"}

    def test_second_run_does_nothing_even_when_all_is_touched(self, smoke):
        assert NOTHING in smoke()
        for path in [*smoke.results.rglob("*"), *smoke.repository.rglob("*")]:
            os.utime(path)
        assert NOTHING in smoke("-n")

    def test_its_config_repeats_it(self, smoke):
        written = smoke.results / "run.yaml"
        before = written.read_text()
        assert NOTHING in smoke("-n", configs=["results/run.yaml"])
        other = Runner(smoke.repository.parent, "repeated")
        other("results/draw_parameters/parameters.csv", configs=[str(written)])
        assert (other.results / "run.yaml").read_text() == before
        for name in ("draw_parameters/parameters.csv", "provenance/draw_parameters"):
            ours, theirs = (
                sorted(
                    p.read_bytes()
                    for p in [r.results / name, *(r.results / name).glob("*")]
                    if p.is_file()
                )
                for r in (smoke, other)
            )
            assert ours == theirs

    def test_verify_and_repair(self, smoke):
        """Damage is told, removed and nothing else, and made anew with the same bytes."""
        assert " ok" in smoke("verify")
        damaged = {
            "simulate_maps/lognormal/validation/0.h5": flip,
            "plot_sky/sky.png": lambda b: b[: len(b) // 2],
            "tabulate_pairing/pairing.md": lambda b: b"",
        }
        kept = {name: (smoke.results / name).read_bytes() for name in damaged}
        for name, change in damaged.items():
            (smoke.results / name).write_bytes(change(kept[name]))
        before = {p for p in smoke.results.rglob("*") if p.is_file()}
        printed = smoke("verify", succeeds=False)
        for name in damaged:
            assert f"{name}: broken, is " in printed
        assert "3 broken" in printed
        assert "3 of" in printed
        assert "Traceback" not in printed

        repair = [sys.executable, "-m", "mflens.run.verify", "--repair"]
        done = subprocess.run(
            repair,
            **{"cwd": smoke.folder, "env": smoke.environment},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        gone = before - {p for p in smoke.results.rglob("*") if p.is_file()}
        names = {p.relative_to(smoke.results).as_posix() for p in gone}
        assert names == {*damaged, *(f"provenance/{name}.json" for name in damaged)}
        assert set(damaged) <= set(re.findall(r"results/(\S+)", smoke("-n")))

        smoke("repair")
        for name, content in kept.items():
            assert (smoke.results / name).read_bytes() == content
        # what followed is kept but for the measured costs
        again = {
            "measure_spectra",
            "pretrain_compressor",
            "finetune_compressor",
            "sample_posterior",
        }
        assert again & set(jobs(smoke("-n"))) == set()
        smoke()
        assert "broken" not in smoke("verify")

    def test_another_config_is_told(self, smoke):
        overlay = smoke.overlay({"report": {"triangle_sims": 1}})
        printed = smoke("verify", configs=["smoke", overlay], succeeds=False)
        told = re.findall(r"(\S+): stale, made with another config", printed)
        assert set(told) == {f"plot_posteriors/posteriors.{kind}" for kind in ("pdf", "png")}
        assert "triangle_sims: 2" in (smoke.results / "run.yaml").read_text()

    def test_another_version_of_a_library_is_told(self, smoke):
        """Of what was made with it and of nothing else; no run makes anything anew for it."""
        records = {
            path.relative_to(smoke.results / "provenance").with_suffix("").as_posix(): path
            for path in smoke.results.glob("provenance/*/**/*.json")
        }
        kept = {path: path.read_text() for path in records.values()}
        made = {name: json.loads(text) for name, text in zip(records, kept.values(), strict=True)}
        used = {name for name, record in made.items() if "glass" in record.get("libraries", [])}
        for rule in ("simulate_maps/lognormal/bulk/0.h5", "simulate_maps/lognormal/bulk/1.h5"):
            assert rule in used
        for rule in ("draw_parameters/parameters.csv", "finetune_compressor/paired/8.pt"):
            assert rule not in used
        try:
            for name, path in records.items():  # as if an older GLASS had been installed then
                record = made[name]
                del record["record_hash"]
                record["versions"]["glass"] = "2023.6"
                path.write_text(json.dumps({**record, "record_hash": hash_of(record)}))
            printed = smoke("verify", succeeds=False)
            told = re.findall(r"(\S+): stale, made with glass 2023.6, which is", printed)
            assert set(told) == used
            assert jobs(smoke("-n")) == {}
        finally:
            for path, text in kept.items():
                path.write_text(text)

    def test_edits_rerun_what_they_change(self, smoke):
        package = smoke.repository / "workflow/mflens"
        kept = {p: p.read_text() for p in (package / "infer/training.py", package / "files/io.py")}
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


def test_odd_names_are_names(folder):
    """No shell sees the folder of results, whatever it is called."""
    runner = Runner(folder, "odd")
    name = "r é '\"$(touch hacked); `touch hacked` & |x"
    overlay = runner.overlay({"results_dir": name})
    runner("--until", "draw_parameters", configs=["smoke", overlay])
    assert "2 ok" in runner("verify", configs=["smoke", overlay])
    assert (runner.folder / name / "draw_parameters/parameters.csv").is_file()
    made = {path.name for path in runner.folder.iterdir()}
    assert made == {name, ".snakemake", "overlay_0.yaml"}


def flip(content: bytes) -> bytes:
    """Return the bytes of a file with one bit changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
