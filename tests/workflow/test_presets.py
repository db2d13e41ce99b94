"""Every survey of `config/` in smoke size: one cosmology, one chunk of maps."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from configs import merge, read_config
from mflens.files.io import read_hdf5
from mflens.prior import Prior
from mflens.run.plan import inferred
from runs import Runner
from surveys import DES_MEANS, KIDS_MEANS, write_des, write_euclid, write_kids

pytestmark = pytest.mark.workflow

PRESETS = {"kids1000": 777, "desy3": 4143, "euclid_dr1": 1900}
SMALL = {
    "simulate": {"sims": {"validation": 4}, "chunk_size": {"validation": 4}, "bands": [4, 8, 16]},
}


# the recipes in the comments of the presets, and mean redshifts of the files
RECIPES = {
    "kids1000": ({"z_column": "lower", "z_max": "auto"}, write_kids, (*KIDS_MEANS[:4], 0.997)),
    "desy3": ({"extension": "nz_source", "z_max": "auto"}, write_des, DES_MEANS),
    "euclid_dr1": ({"z_max": "auto"}, write_euclid, None),
}


def recipe(folder, name):
    """Return an overlay that gives a preset the survey's own files."""
    options, write, _ = RECIPES[name]
    return {"kind": "file", "path": write(folder), **options}


@pytest.mark.parametrize("name", PRESETS)
def test_dry_run_says_what_it_read(tmp_path, name):
    printed = Runner(tmp_path)("-n", configs=["smoke", name])
    assert "simulate_maps" in printed
    area = re.search(r"footprint: (\d+) deg2", printed)
    assert float(area[1]) == pytest.approx(PRESETS[name], abs=120)
    end = re.search(r"to z = ([\d.]+) at Omega_m = 0.15, .*sources to z = ([\d.]+)", printed)
    assert float(end[1]) >= float(end[2])


@pytest.mark.parametrize("name", PRESETS)
def test_dry_run_with_the_files_of_the_survey(tmp_path, name):
    runner = Runner(tmp_path)
    overlay = runner.overlay({"simulate": {"survey": {"redshifts": recipe(tmp_path, name)}}})
    printed = runner("-n", configs=["smoke", name, overlay])
    assert "simulate_maps" in printed
    rows = re.findall(r"^ +(\d) +([\d.]+) +([\d.]+) +\S+ % +\S+ +\S+$", printed, re.MULTILINE)
    means = RECIPES[name][2]
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    if means:
        np.testing.assert_allclose([float(row[1]) for row in rows], means, atol=1e-3)
    np.testing.assert_allclose(*([float(row[i]) for row in rows] for i in (1, 2)), atol=0.02)


@pytest.mark.parametrize("published", [False, True], ids=["formula", "files"])
@pytest.mark.parametrize("name", PRESETS)
def test_maps_of_one_chunk(tmp_path, name, published):
    runner = Runner(tmp_path)
    target = "results/simulate_maps/lognormal/validation/0.h5"
    redshifts = recipe(tmp_path, name) if published else {}
    small = merge(SMALL, {"simulate": {"survey": {"redshifts": redshifts}}})
    runner(target, configs=["smoke", name, runner.overlay(small)])
    arrays, attributes = read_hdf5(runner.folder / target)
    config = read_config("smoke", name)
    survey = config["simulate"]["survey"]
    n_bins, n_pixels = len(survey["n_gal_arcmin2"]), len(arrays["pixel"])
    assert arrays["maps"].shape == (4, n_bins, 2, n_pixels)
    assert np.isfinite(arrays["maps"]).all()
    # a pixel of nside 16 has 13 square degrees, so the area is right to a few of them
    assert n_pixels * 41253 / 3072 == pytest.approx(PRESETS[name], abs=120)
    scatter = arrays["maps"].std(axis=(0, 2, 3))
    assert np.all(scatter > 0.9 * attributes["noise_sd"]) and scatter.max() < 0.01
    names = Prior(inferred(config["theory"]["parameters"], survey["nuisances"])).names
    assert list(attributes["parameters"]) == names == ["Omega_m", "sigma_8", "A_IA"]
    assert np.unique(arrays["theta"][:, 2]).size == 4
    assert json.loads(attributes["footprint"]) == survey["mask"]


def test_a_change_in_any_file_of_a_list_simulates_anew(tmp_path):
    runner = Runner(tmp_path)
    target = "results/simulate_maps/lognormal/validation/0.h5"
    redshifts = recipe(tmp_path, "kids1000")
    small = runner.overlay(merge(SMALL, {"simulate": {"survey": {"redshifts": redshifts}}}))
    configs = ["smoke", "kids1000", small]
    runner(target, configs=configs)
    assert "Nothing to be done" in runner("-n", target, configs=configs)
    file = Path(redshifts["path"][3])
    file.write_text(file.read_text().replace("0.50 ", "0.50  "))
    assert "Params have changed" in runner("-n", target, configs=configs)
