"""The workflow as a module of another one, and command lines of which Snakemake loses a part."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from configs import ROOT
from runs import Runner

pytestmark = pytest.mark.workflow

README = (ROOT / "README.md").read_text()
SMOKE = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())


@pytest.fixture(scope="module")
def runner(tmp_path_factory) -> Runner:
    """Return a copy whose package says another version than the installed one."""
    made = Runner(tmp_path_factory.mktemp("module"))
    (made.repository / "workflow/mflens/__init__.py").write_text('__version__ = "0.1.0+beside"\n')
    return made


def snakemake(folder, snakefile, *arguments, config=None, succeeds=True):
    """Run another workflow in its folder, without a path to this one, and return what it says."""
    path = folder / "Snakefile"
    path.write_text(snakefile)
    line = [sys.executable, "-m", "snakemake", "-c1", "-s", str(path), *arguments]
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        line += ["--configfile", str(folder / "config.yaml")]
    done = subprocess.run(
        line,
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (done.returncode == 0) is succeeds, done.stdout[-5000:]
    assert "Traceback" not in done.stdout
    return done.stdout


def total(printed):
    return int(re.search(r"^total +(\d+)$", printed, re.MULTILINE)[1])


@pytest.fixture(scope="module")
def n_jobs(runner) -> int:
    """Return the jobs of the smoke run; a workflow that uses it has one of its own for `all`."""
    return total(runner("-n"))


def test_module_of_the_readme(runner, n_jobs, tmp_path):
    """Its results are those of the package beside the Snakefile, locked, recorded and checked."""
    section = README[README.index("## Use it in another workflow") :]
    example = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    example = example.replace("/path/to/mflens", str(runner.repository))
    config = {"title": "a paper", "mflens": {**SMOKE, "results_dir": "lensing"}}
    assert total(snakemake(tmp_path, example, "-n", config=config)) == n_jobs
    snakemake(tmp_path, example, "--until", "mflens_draw_parameters", config=config)
    record = tmp_path / "lensing/provenance/draw_parameters/parameters.csv.json"
    record = json.loads(record.read_text())
    assert record["rule"] == "draw_parameters"
    assert record["versions"]["mflens"] == "0.1.0+beside", "that of the job"
    text = (tmp_path / "lensing/run.yaml").read_text()
    assert "mflens 0.1.0+beside" in text, "that of Snakemake's process"
    # the same products as a run of its own
    alone = yaml.safe_load(text)
    runner(
        "--until", "draw_parameters", configs=["smoke", runner.overlay({"results_dir": "alone"})]
    )
    product = "draw_parameters/parameters.csv"
    own = runner.folder / "alone"
    assert (own / product).read_bytes() == (tmp_path / "lensing" / product).read_bytes()
    assert json.loads((own / f"provenance/{product}.json").read_text()) == record
    assert yaml.safe_load((own / "run.yaml").read_text()) == {**alone, "results_dir": "alone"}
    assert "2 ok" in snakemake(tmp_path, example, "mflens_verify", config=config)


def test_module_that_is_given_the_whole_config(runner, n_jobs, tmp_path):
    """As snakedeploy writes it: with another file's defaults, keys of its own, and no handler."""
    snakefile = """
MFLENS = config.get("mflens", "nowhere")
configfile: f"{MFLENS}/config/smoke.yaml"
module mflens:
    snakefile: f"{MFLENS}/Snakefile"
    config: config
use rule * from mflens as mflens_*
rule paper:
    default_target: True
    input: rules.mflens_all.input
"""
    value = f"mflens={runner.repository}"
    nested = "simulate={nside: 32, ell_max: 64, mesh: {projection_nside: 64}}"
    printed = snakemake(tmp_path, snakefile, "-n", "--config", value, nested)
    assert total(printed) == n_jobs
    assert "leaves aside what it does not know of its config: ['mflens']" in printed
    assert "mflens_simulate_costly_maps" in printed


def test_two_modules_of_one_clone_beside_rules_of_its_own(runner, tmp_path):
    snakefile = f"""
rule mine:
    input: "a/tabulate_cost/cost.csv", "b/tabulate_cost/cost.csv"
module a:
    snakefile: "{runner.repository}/Snakefile"
    config: config["a"]
use rule * from a as a_*
module b:
    snakefile: "{runner.repository}/Snakefile"
    config: config["b"]
use rule * from b as *_b
use rule draw_parameters from b as draw_parameters_b with:
    message: "Draw others."
"""
    config = {name: {**SMOKE, "results_dir": name} for name in "ab"}
    printed = snakemake(tmp_path, snakefile, "-n", config=config)
    assert "rule mine:" in printed, "the first rule stays the default"
    assert {"a_simulate_maps", "simulate_maps_b"} <= set(printed.split())
    assert "Draw others." in printed


def test_module_without_a_config_of_its_own(runner, n_jobs, tmp_path):
    snakefile = f"""
module mflens:
    snakefile: "{os.path.relpath(runner.repository, tmp_path)}/Snakefile"
use rule * from mflens
"""
    assert total(snakemake(tmp_path, snakefile, "-n", config=SMOKE | {"paper": 1})) == n_jobs


@pytest.mark.parametrize(
    ("directive", "words"),
    [
        ('prefix: "sub"', "moves results/x to sub/results/x"),
        ('replace_prefix: {"results/": "other/"}', "moves results/x to other/x"),
        ('config: {"simulat": {"nside": 32}}', "simulat: unknown key"),
    ],
)
def test_module_that_cannot_work_is_one_sentence(runner, tmp_path, directive, words):
    snakefile = f"""
module mflens:
    snakefile: "{runner.repository}/Snakefile"
    {directive}
use rule * from mflens
"""
    printed = snakemake(tmp_path, snakefile, "-n", config=SMOKE, succeeds=False)
    assert sum(words in line for line in printed.splitlines()) == 1, printed


class TestCommandLine:
    """What Snakemake would lose or misread of it."""

    def test_a_key_twice(self, runner):
        path = runner.folder / "twice.yaml"
        path.write_text("simulate:\n  nside: 32\nsimulate:\n  survey: {noise: poisson}\n")
        printed = runner("-n", configs=["smoke", str(path)], succeeds=False)
        assert "twice.yaml: the key simulate is given twice (lines 1 and 3)" in printed
        assert "Traceback" not in printed

    def test_an_option_twice(self, runner):
        more = runner.overlay({"simulate": {"nside": 32}})
        printed = runner("-n", "--configfile", more, succeeds=False)
        assert "--configfile is given more than once" in printed
        assert "Traceback" not in printed

    @pytest.mark.parametrize("targets", [("verify",), ("--", "verify")])
    def test_a_target_behind_the_configfile(self, runner, targets):
        """It is told, or found where the two hyphens part it."""
        overlay = f"{runner.repository}/config/smoke.yaml"
        arguments = ["-n", "--configfile", overlay, *targets]
        printed = runner(*arguments, configs=[], succeeds=len(targets) > 1)
        assert "Traceback" not in printed
        if len(targets) == 1:
            assert (
                "--configfile: there is no file 'verify'; name one, or put 'verify' be" in printed
            )
        else:
            assert total(printed) == 1

    def test_nested_numbers(self, runner):
        values = "simulate={nside: 32, ell_max: 64, mesh: {projection_nside: 64}}"
        overlay = Path(runner.folder, "numbers.yaml")
        overlay.write_text(
            "theory: {k_max_h_mpc: 2e0}\ncompress: {pretraining: {clip_norm: 1e1}}\n"
        )
        arguments = ["draw_parameters", "--config", values, "results_dir=nested"]
        runner(*arguments, configs=["smoke", str(overlay)])
        written = yaml.safe_load((runner.folder / "nested/run.yaml").read_text())
        assert written["simulate"]["nside"] == 32
        assert written["simulate"]["mesh"]["projection_nside"] == 64
        assert written["theory"]["k_max_h_mpc"] == 2.0
        assert written["compress"]["pretraining"]["clip_norm"] == 10.0
