"""The smoke run with sims on disk as its top tier, from files that the test writes."""

import numpy as np
import pandas as pd
import pytest

from mflens.files.io import read_chunks, read_hdf5
from runs import Runner
from shells import densities, write_hdf5_shells

pytestmark = pytest.mark.workflow

METHODS = ["prior", "low_only", "linear_high", "linear", "high_only", "transfer"]
NSIDE = 32  # twice the smoke run's


@pytest.fixture(scope="module")
def runner(tmp_path_factory) -> Runner:
    """Return a runner whose folder holds 22 sims with fluctuations in proportion to sigma_8."""
    runner = Runner(tmp_path_factory.mktemp("on_disk"))
    folder = runner.folder / "sims"
    folder.mkdir()
    rng = np.random.default_rng(5)
    theta = rng.uniform([0.16, 0.61], [0.44, 0.99], (22, 2))
    edges = np.linspace(0.0, 1.8, 10)
    for i, (_, sigma_8) in enumerate(theta):
        counts = 50 * (1 + densities(9, NSIDE, seed=i, scale=sigma_8))
        write_hdf5_shells(folder / f"{i}.h5", counts, edges, unit="counts")
    table = pd.DataFrame(theta, columns=["Om", "sigma8"])
    table["file"] = [f"{i}.h5" for i in range(22)]
    table.to_csv(runner.folder / "sims.csv", index=False)
    return runner


def overlay(methods: list[str]) -> dict:
    options = {"format": "hdf5", "path": "sims", "table": "sims.csv", "paired": False}
    return {
        "ladder": ["lognormal", "shells_on_disk"],
        "simulate": {"tiers": {"shells_on_disk": options}},
        "infer": {"methods": methods},
    }


def test_mlmc_is_refused(runner):
    configs = ["smoke", runner.overlay(overlay(["transfer", "mlmc"]))]
    printed = runner("-n", configs=configs, succeeds=False)
    assert any(
        "infer.methods: 'mlmc'" in line and "transfer, high_only or linear" in line
        for line in printed.splitlines()
    ), printed
    assert "Traceback" not in printed


def test_unpaired_sims_run_to_posteriors(runner):
    configs = ["smoke", runner.overlay(overlay(METHODS))]
    runner(configs=configs)
    scores = pd.read_csv(runner.results / "tabulate_methods/methods.csv")
    assert set(scores["method"]) == set(METHODS)
    assert np.isfinite(scores["nlpd"]).all()
    assert "Nothing to be done" in runner("-n", configs=configs)

    design = pd.read_csv(runner.results / "draw_parameters/parameters.csv")
    table = pd.read_csv(runner.folder / "sims.csv").set_index("file")
    chosen = design.dropna(subset=["file_shells_on_disk"])
    assert set(chosen["split"]) == {"test", "pairs_shells_on_disk"}
    assert chosen["file_shells_on_disk"].is_unique
    truth = table.loc[chosen["file_shells_on_disk"]].to_numpy()
    np.testing.assert_allclose(chosen[["Omega_m", "sigma_8"]], truth)

    split = runner.results / "simulate_maps"
    pairs = {
        tier: sorted((split / tier / "pairs_shells_on_disk").glob("*.h5"))
        for tier in ("lognormal", "shells_on_disk")
    }
    low, high = (read_chunks(paths, ["theta"]) for paths in pairs.values())
    np.testing.assert_array_equal(low["theta"], high["theta"])
    for paths in pairs.values():
        assert not read_hdf5(paths[0], [])[1]["paired"]
    pairing = pd.read_csv(runner.results / "tabulate_pairing/pairing.csv")
    assert pairing["r_matched"].abs().mean() < 0.3


def test_a_broken_file_is_named_in_one_sentence(runner):
    """Runs last: the file of one test sim loses its end."""
    design = pd.read_csv(runner.results / "draw_parameters/parameters.csv")
    name = design[design["split"] == "test"]["file_shells_on_disk"].iloc[0]
    path = runner.folder / "sims" / name
    path.write_bytes(path.read_bytes()[:20000])
    configs = ["smoke", runner.overlay(overlay(METHODS))]
    target = "results/simulate_maps/shells_on_disk/test/0.h5"
    printed = runner("--force", target, configs=configs, succeeds=False)
    assert f"sims/{name} is truncated" in printed
    assert "Traceback" not in printed
