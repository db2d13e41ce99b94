"""The emulator in the workflow: there when the config asks for it, with its error in the files."""

import json
import re

import numpy as np
import pytest

from mflens.files.io import read_hdf5, read_table
from runs import Runner

pytestmark = pytest.mark.workflow

CAMB = {"theory": {"power": "camb"}}
EMULATOR = {"theory": {"emulator": {"n_training": 24, "n_validation": 8}}}


def rules(printed: str) -> set[str]:
    """Names in the table of jobs that a dry run prints."""
    return set(re.findall(r"^(\w+) +\d+$", printed, re.MULTILINE))


def test_only_in_the_graph_when_asked_for(tmp_path):
    runner = Runner(tmp_path)
    ours = {"compute_training_power", "train_emulator"}
    assert ours <= rules(runner("-n"))
    assert not ours & rules(runner("-n", configs=["smoke", runner.overlay(CAMB)]))


def test_an_overlay_changes_the_amplitude(tmp_path):
    runner = Runner(tmp_path)
    prior = {"prior": "uniform", "min": 0.7, "max": 0.9}
    other = runner.overlay({"theory": {"parameters": {"S_8": prior}}})
    assert "sigma_8 and S_8" in runner("-n", configs=["smoke", other], succeeds=False)
    other = runner.overlay({"theory": {"parameters": {"S_8": prior, "sigma_8": None}}})
    target = "results/draw_parameters/parameters.csv"
    runner(target, configs=["smoke", other])
    table = read_table(runner.folder / target)
    assert table["S_8"].between(0.7, 0.9).all() and "sigma_8" not in table


def test_a_poor_emulator_is_refused(tmp_path):
    runner = Runner(tmp_path)
    strict = runner.overlay({"theory": {"emulator": {"n_training": 8, "max_error_percent": 0.01}}})
    target = "results/train_emulator/emulator.pt"
    printed = runner(target, configs=["smoke", strict], succeeds=False)
    assert "theory.emulator.max_error_percent" in printed and "above 0.01" in printed
    assert not (runner.folder / target).exists()


@pytest.mark.accuracy
def test_spectra_of_emulator_and_camb_agree(tmp_path):
    """Trained on two dozen cosmologies, spectra of shells agree to some per cent."""
    spectra = {}
    for name, overlay in (("camb", CAMB), ("emulator", EMULATOR)):
        runner = Runner(tmp_path, name)
        target = "results/compute_spectra/validation/0.h5"
        runner(target, configs=["smoke", runner.overlay(overlay)])
        arrays, attributes = read_hdf5(runner.folder / target)
        assert attributes["power"] == name
        spectra[name] = arrays["spectra"]
    errors = read_table(runner.results / "train_emulator/errors.csv")
    recorded = json.loads(attributes["emulator_error_percent"])
    overall = errors[errors["power"] == "nonlinear"].iloc[0]
    assert recorded["nonlinear_q99"] == pytest.approx(overall["q99"])
    assert recorded["nonlinear_q68"] == pytest.approx(overall["q68"])
    diagonal = np.einsum("nlii->nli", spectra["emulator"] / spectra["camb"])
    np.testing.assert_allclose(diagonal, 1, atol=0.05)
