"""Edits re-run what they change and nothing else."""

import os
from pathlib import Path

import pytest

from mflens.files import dependencies
from mflens.run.plan import Plan

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package and scripts that may be edited."""
    import shutil

    shutil.copytree(dependencies.PACKAGE, tmp_path / "mflens")
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    monkeypatch.setattr(dependencies, "PACKAGE", tmp_path / "mflens")
    return tmp_path


def prints(root):
    return {p.stem: dependencies.fingerprint(p) for p in (root / "scripts").glob("*.py")}


def changed(before, root):
    after = prints(root)
    return {name for name in after if after[name] != before[name]}


def append(path, text):
    path.write_text(path.read_text() + text)


def test_comments_and_docstrings_do_not_count(package):
    before = prints(package)
    append(package / "mflens" / "simulate" / "lognormal" / "tier.py", "\n# a comment\n")
    path = package / "scripts" / "simulate_maps.py"
    path.write_text(path.read_text().replace("Simulate a chunk of sims", "Make a chunk of sims"))
    assert changed(before, package) == set()


def test_an_edit_of_training_spares_the_simulations(package):
    before = prints(package)
    append(package / "mflens" / "infer" / "training.py", "\nX = 1\n")
    names = changed(before, package)
    assert {"pretrain_compressor", "finetune_compressor"} <= names
    assert not {"simulate_maps", "compute_spectra", "measure_spectra"} & names


@pytest.mark.parametrize(
    "module", ["simulate/mesh/particles.py", "simulate/lognormal/tier.py", "files/io.py"]
)
def test_an_edit_of_a_tier_is_seen_by_the_simulations(package, module):
    before = prints(package)
    append(package / "mflens" / module, "\nX = 1\n")
    assert "simulate_maps" in changed(before, package)


def test_the_source_of_a_user_tier_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_tier_module.py").write_text("class Mine: pass\n")
    script = SCRIPTS / "simulate_maps.py"
    first = dependencies.fingerprint(script, ["my_tier_module.Mine"])
    append(tmp_path / "my_tier_module.py", "y = 2\n")
    assert dependencies.fingerprint(script, ["my_tier_module.Mine"]) != first


def test_files_of_the_survey_count_by_their_content(config, tmp_path):
    mask, table = tmp_path / "mask.fits", tmp_path / "nz.txt"
    mask.write_bytes(b"mask")
    table.write_bytes(b"n(z)")
    survey = config["simulate"]["survey"]
    assert Plan(config).survey_files == []
    survey["mask"], survey["redshifts"] = str(mask), {"kind": "file", "path": str(table)}
    files = Plan(config).survey_files
    script = SCRIPTS / "simulate_maps.py"
    before = dependencies.fingerprint(script, files=files)
    os.utime(mask)
    assert dependencies.fingerprint(script, files=files) == before
    table.write_bytes(b"N(z)")
    assert dependencies.fingerprint(script, files=files) != before
