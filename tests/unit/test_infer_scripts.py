"""The scripts of compressor, posterior and scores, from files to files."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mflens.errors import ConfigError, DataError
from mflens.evaluate.posterior import METHOD_COLUMNS
from mflens.files.io import read_hdf5, read_json, write_hdf5
from mflens.run.plan import splits

SCRIPTS = Path(__file__).parents[2] / "scripts"
PARAMETERS = {
    "Omega_m": {"prior": "uniform", "min": 0.1, "max": 0.5},
    "sigma_8": {"prior": "normal", "mean": 0.8, "sd": 0.1},
    "h": 0.7,
}
TRAINING = {
    "max_epochs": 2,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "patience": 2,
    "clip_norm": 5.0,
}
LADDER = ["low", "high"]


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def write_chunk(folder, tier, split, first_sim, n):
    """Write maps and spectra of one chunk; both tiers share the noise of a sim."""
    pixel = np.arange(16, 60)
    theta = np.empty((n, 2))
    maps, spectra = np.empty((n, 1, 2, 44), dtype=np.float32), np.empty((n, 4))
    for i in range(n):
        rng = np.random.default_rng(first_sim + i)
        theta[i] = rng.uniform(0.15, 0.45), rng.normal(0.8, 0.1)
        shear = rng.standard_normal((1, 2, 44)) * theta[i, 0] * (1.1 if tier == "high" else 1)
        maps[i] = shear
        spectra[i] = (shear**2).mean(), (shear[:, 0] ** 2).mean(), shear.max(), theta[i, 1]
    attributes = {"tier": tier, "split": split, "nside": 4}
    sim = np.arange(first_sim, first_sim + n)
    common = {"sim": sim, "cosmology": sim, "theta": theta}
    paths = [folder / f"{kind}_{tier}_{split}_{first_sim}.h5" for kind in ("maps", "spectra")]
    write_hdf5(paths[0], {**common, "maps": maps, "pixel": pixel}, attributes)
    write_hdf5(paths[1], {**common, "spectra": spectra}, attributes)
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Write all inputs and pretrain; return the folder and the files by kind and split."""
    folder = tmp_path_factory.mktemp("run")
    chunks = {
        "bulk": [("low", "bulk", 0, 24), ("low", "bulk", 24, 24)],
        "validation": [("low", "validation", 100, 16)],
        "pairs": [(t, "pairs_high", s, 6) for t in LADDER for s in (206, 200)],
        "test": [("high", "test", 300, 12)],
    }
    written = {key: [write_chunk(folder, *c) for c in value] for key, value in chunks.items()}
    files = {
        f"{key}_{kind}": [paths[i] for paths in value]
        for key, value in written.items()
        for i, kind in enumerate(("maps", "spectra"))
    }
    script("pretrain_compressor")(
        files["bulk_maps"],
        files["validation_maps"],
        model=folder / "pretrained.pt",
        history=folder / "history.csv",
        parameters=PARAMETERS,
        ladder=LADDER,
        network={"channels": 2, "n_summaries": 2, "hidden_features": 8, "non_gaussian": False},
        flow={"transforms": 2, "hidden_features": 8, "bins": 4},
        pretraining=TRAINING,
        device="cpu",
        checkpoint_minutes=0,
        seed=1,
    )
    return folder, files


def write_benchmark(folder, name, seconds):
    path = folder / "benchmarks" / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\tmax_rss\n{seconds}\t100\n")
    return path


def finetune(run, method, n_high="12", **changes):
    folder, files = run
    arguments = {
        "pretrained": folder / "pretrained.pt",
        **{
            kind: [p for split in ("bulk", "validation", "pairs") for p in files[f"{split}_{kind}"]]
            for kind in ("maps", "spectra")
        },
        "model": folder / method / f"{n_high}.pt",
        "history": folder / method / f"{n_high}.csv",
        "method": method,
        "n_high": n_high,
        "parameters": PARAMETERS,
        "ladder": LADDER,
        "training": TRAINING,
        "correction": {"max_epochs": 1, "learning_rate": 3e-4, "patience": 1},
        "n_folds": 2,
        "device": "cpu",
        "checkpoint_minutes": 0,
        "seed": 1,
    }
    script("finetune_compressor")(**{**arguments, **changes})
    return arguments["model"]


def test_from_maps_to_the_table_of_methods(run, tmp_path):
    from getdist import loadMCSamples

    folder, files = run
    assert not list(folder.rglob("*.checkpoint")), "nothing is left of finished training"
    assert len(pd.read_csv(folder / "history.csv")) == 3
    runs = [("prior", 0), ("linear", 12), ("paired", 12)]
    samples = [tmp_path / f"{method}.h5" for method, _ in runs]
    scores = [tmp_path / f"{method}.json" for method, _ in runs]
    script("sample_posterior")(
        [finetune(run, method, str(n_high)) for method, n_high in runs],
        files["test_maps"],
        files["test_spectra"],
        samples=samples,
        chains=[tmp_path / f"{method}_chains" for method, _ in runs],
        runs=runs,
        parameters=PARAMETERS,
        n_samples=300,
        n_chains=2,
        seed=1,
    )
    script("score_posterior")(samples, scores, seed=1)
    arrays, _ = read_hdf5(tmp_path / "paired.h5")
    assert arrays["samples"].shape == (12, 300, 2)
    chain = loadMCSamples(str(tmp_path / "paired_chains" / "301"))
    np.testing.assert_allclose(chain.samples, arrays["samples"][1], rtol=1e-6)
    np.testing.assert_allclose(chain.loglikes, -arrays["log_prob_samples"][1], rtol=1e-6)
    assert chain.getParamNames().parsWithNames(["sigma_8"])[0].label == r"\sigma_8"
    assert chain.ranges.getLower("Omega_m") == 0.1 and chain.ranges.getLower("sigma_8") is None
    assert read_json(scores[0])["nlpd_minus_prior"] == pytest.approx(0, abs=1e-6)
    simulated = [("low", "bulk"), ("low", "validation"), ("low", "pairs_high")]
    simulated += [("high", "pairs_high")]
    script("tabulate_methods")(
        scores,
        [write_benchmark(tmp_path, f"finetune_compressor/{i}/12", 2.5) for i in range(3)],
        write_benchmark(tmp_path, "pretrain_compressor/model", 5.0),
        [write_benchmark(tmp_path, f"simulate_maps/{t}/{split}/0", 12.0) for t, split in simulated],
        methods=tmp_path / "methods.csv",
        markdown=tmp_path / "methods.md",
        simulations={
            "splits": splits(LADDER),
            "sims": {"bulk": 48, "validation": 16, "pairs_high": 12, "test": 12},
            "simulated": ["low", "high"],
            "calibrated": [],
        },
        threads={},
    )
    table = pd.read_csv(tmp_path / "methods.csv")
    assert list(table.columns) == METHOD_COLUMNS
    assert list(table["method"]) == ["prior", "linear", "paired"]
    # training; bulk, and validation for what is pretrained; one or both members of twelve pairs
    expected = [2.5, 2.5 + 12 + 12, 2.5 + 5 + 24 + 24]
    np.testing.assert_allclose(table["cost_core_s"], expected)


def test_too_many_high_fidelity_sims(run):
    with pytest.raises(ConfigError, match="asks for 13 high-fidelity sims but only 12 pairs"):
        finetune(run, "transfer", "13")


def test_pairs_must_hold_the_same_sims(run):
    _, files = run
    maps = [*files["bulk_maps"], *files["validation_maps"], *files["pairs_maps"]]
    incomplete = [path for path in maps if "low_pairs_high_206" not in path]
    with pytest.raises(DataError, match="pairs of low and high hold different sims"):
        finetune(run, "transfer", maps=incomplete)
