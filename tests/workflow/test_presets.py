"""Every survey of `config/` in smoke size: one cosmology, one chunk of maps."""

import json

import numpy as np
import pytest

from configs import read_config
from mflens.io import read_hdf5
from mflens.plan import inferred
from mflens.prior import Prior
from runs import Runner

pytestmark = pytest.mark.workflow

PRESETS = {"kids1000": 777, "desy3": 4143, "euclid_dr1": 1900}
SMALL = {
    "simulate": {"sims": {"validation": 4}, "chunk_size": {"validation": 4}, "bands": [4, 8, 16]},
}


@pytest.mark.parametrize("name", PRESETS)
def test_dry_run(tmp_path, name):
    printed = Runner(tmp_path)("-n", configs=["smoke", name])
    assert "simulate_maps" in printed


@pytest.mark.parametrize("name", PRESETS)
def test_maps_of_one_chunk(tmp_path, name):
    runner = Runner(tmp_path)
    target = "results/simulate_maps/lognormal/validation/0.h5"
    runner(target, configs=["smoke", name, runner.overlay(SMALL)])
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
