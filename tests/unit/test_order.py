"""Which number belongs to which name: no order is taken from a dictionary, a file or the alphabet.

Names stand here in an order that is neither the alphabet's nor its reverse, each with numbers of
its own, and every file is read back by its names.
"""

import importlib
import json
import sys

import getdist
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from scipy.stats import kstest

from configs import ROOT, merge, read_config
from jobs import Named, job
from mflens.files import io, provenance
from mflens.infer.posterior import Posterior
from mflens.prior import Prior
from mflens.run.verify import read_config as read_run_config
from mflens.theory.emulator.domain import Domain
from mflens.theory.emulator.networks import Emulator, SpectrumNetwork, shape_inputs

PARAMETERS = {
    "sigma_8": {"prior": "uniform", "min": 0.6, "max": 1.0},
    "A_IA": {"prior": "normal", "mean": 0.0, "sd": 1.0},
    "h": 0.7,
    "Omega_m": {"prior": "uniform", "min": 0.2, "max": 0.4},
}
NAMES = ["sigma_8", "A_IA", "Omega_m"]
CENTRES = np.array([0.8, 0.0, 0.3])
# share of posterior samples below the truth, by name
BELOW = {"sigma_8": 0.0, "A_IA": 0.25, "Omega_m": 1.0}
N_TEST, N_SAMPLES = 6, 40


def script(name: str, monkeypatch):
    """Return a script as a module; it is not run."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


@pytest.fixture
def samples(tmp_path):
    """Posterior samples whose ranks are known from the name of the parameter alone."""
    steps, rng = np.linspace(-0.05, 0.05, N_SAMPLES), np.random.default_rng(1)
    theta = np.tile(CENTRES, (N_TEST, 1))
    spread = np.stack([rng.permutation(steps) for _ in NAMES], axis=1)
    drawn = theta[:, None] + spread
    for column, name in enumerate(NAMES):
        place = round(BELOW[name] * N_SAMPLES)
        ends = np.concatenate([steps[:1] - 1, steps, steps[-1:] + 1])
        theta[:, column] = CENTRES[column] + ends[place : place + 2].mean()
    arrays = {
        "sim": np.arange(N_TEST),
        "theta": theta,
        "samples": drawn,
        "log_prob_samples": np.zeros((N_TEST, N_SAMPLES)),
        "log_prob_truth": np.zeros(N_TEST),
        "log_prior_truth": np.zeros(N_TEST),
    }
    path = tmp_path / "sample_posterior/paired/4.h5"
    io.write_hdf5(path, arrays, {"method": "paired", "n_high": 4, "parameters": NAMES})
    return path


def test_scores_and_their_figure_name_the_right_parameters(samples, tmp_path, monkeypatch):
    """From the file of samples through the file of scores to the curves of the figure."""
    scores = tmp_path / "score_posterior/paired/4.json"
    script("score_posterior", monkeypatch).main([str(samples)], [str(scores)], seed=1)
    stored = json.loads(scores.read_text())
    ranks = dict(zip(stored["parameters"], np.array(stored["sbc_ranks"]).T, strict=True))
    assert {name: set(r / N_SAMPLES) for name, r in ranks.items()} == {
        name: {share} for name, share in BELOW.items()
    }
    assert stored["sbc_ks_p"]["A_IA"] > stored["sbc_ks_p"]["Omega_m"]

    drawn = {}
    plot = script("plot_calibration", monkeypatch)
    monkeypatch.setattr(plot, "save_figure", lambda figure, *paths: drawn.update(figure=figure))
    plot.main([str(scores)], "a.pdf", "a.png", parameters=PARAMETERS)
    ax = drawn["figure"].axes[2]
    handles, labels = ax.get_legend_handles_labels()
    prior = Prior(PARAMETERS)
    symbols = {f"${symbol}$": n for n, symbol in zip(prior.names, prior.latex, strict=True)}
    assert [symbols[label] for label in labels] == NAMES
    for handle, label in zip(handles, labels, strict=True):
        levels, deviation = handle.get_data()
        expected = (BELOW[symbols[label]] <= levels).astype(float) - levels
        np.testing.assert_allclose(deviation, expected, atol=1e-12)
    # the p values stand in the order of the legend
    (note,) = (text.get_text() for text in ax.texts if "KS" in text.get_text())
    values = [0.0 if part.strip().startswith("<") else float(part)
              for part in note.partition(":")[2].split(",")]  # fmt: skip
    exact = {n: kstest(np.full(N_TEST, BELOW[n]), "uniform").pvalue for n in NAMES}
    for name, value in zip(NAMES, values, strict=True):
        assert value == pytest.approx(exact[name], abs=0.02) or (value == 0 and exact[name] < 1e-3)


def test_triangles_take_the_order_of_the_samples(samples, monkeypatch):
    """Also where the config names the parameters in another order now."""
    given = {}
    plot = script("plot_posteriors", monkeypatch)
    monkeypatch.setattr(plot, "plot_posteriors", lambda *args, **options: given.update(options))
    monkeypatch.setattr(plot, "save_figure", lambda *args: None)
    other = {name: PARAMETERS[name] for name in sorted(PARAMETERS)}
    plot.main([str(samples)], "a.pdf", "a.png", parameters=other, triangle_sims=2)
    assert given["names"] == NAMES
    prior = Prior(PARAMETERS)
    assert given["latex"] == prior.latex
    np.testing.assert_array_equal(given["bounds"], prior.bounds)


def test_the_sky_names_the_parameters_of_the_file(tmp_path, monkeypatch):
    """In the file's order, nuisances of single bins included."""
    arrays = {
        "convergence": np.random.default_rng(1).standard_normal((1, 1, 12 * 4**2)),
        "convergence_sim": np.zeros(1, int),
        "theta": np.array([[0.8, -0.5, 0.3]]),
        "pixel": np.arange(16),
    }
    names = ["sigma_8", "delta_z_1", "Omega_m"]
    for tier in ("lognormal", "lpt"):
        io.write_hdf5(tmp_path / f"{tier}.h5", arrays, {"tier": tier, "parameters": names})
    plot, drawn = script("plot_sky", monkeypatch), {}
    monkeypatch.setattr(plot, "save_figure", lambda figure, *paths: drawn.update(figure=figure))
    plot.main(*(str(tmp_path / f"{tier}.h5") for tier in ("lognormal", "lpt")), "a.pdf", "a.png")
    title = drawn["figure"].get_suptitle()
    for said in (r"\sigma_8 = 0.800", r"\Delta z_{1} = -0.500", r"\Omega_\mathrm{m} = 0.300"):
        assert said in title
    drawn["figure"].draw_without_rendering()


def test_chains_are_read_by_name(tmp_path, monkeypatch):
    prior = Prior(PARAMETERS)
    theta = CENTRES + 0.01 * np.random.default_rng(1).standard_normal((400, 3))
    write_chain = script("sample_posterior", monkeypatch).write_chain
    write_chain(str(tmp_path / "chain"), theta, np.zeros(400), prior)
    getdist.chains.print_load_details = False
    chain = getdist.loadMCSamples(str(tmp_path / "chain"))
    for name, mean in zip(NAMES, theta.mean(0), strict=True):
        assert chain.mean(name) == pytest.approx(mean, rel=1e-6)
    assert chain.ranges.getLower("sigma_8") == 0.6
    assert chain.ranges.getUpper("Omega_m") == 0.4
    assert chain.ranges.getLower("A_IA") is None


def test_the_design_is_read_by_name(tmp_path, monkeypatch):
    """Every column of the table of sims holds the draws of its own prior."""
    main = script("draw_parameters", monkeypatch).main
    nuisances = {
        "m_1": {"prior": "normal", "mean": 5.0, "sd": 0.01, "infer": True},
        "delta_z_1": {"prior": "normal", "mean": -5.0, "sd": 0.01, "infer": False},
    }
    table = tmp_path / "parameters.csv"
    sizes = [("bulk", 64, 1), ("test", 8, 1)]
    main([], str(table), PARAMETERS, nuisances, sizes, [], {}, seed=1)
    found = pd.read_csv(table)
    for name, (low, high) in {
        "sigma_8": (0.6, 1.0), "Omega_m": (0.2, 0.4), "m_1": (4.9, 5.1), "delta_z_1": (-5.1, -4.9),
    }.items():  # fmt: skip
        assert found[name].between(low, high).all()
    assert found["A_IA"].min() < -1 and found["A_IA"].max() > 1


def test_the_emulator_keeps_the_order_of_its_inputs(tmp_path):
    parameters = {
        "sigma_8": {"prior": "uniform", "min": 0.6, "max": 1.0},
        "n_s": {"prior": "uniform", "min": 0.9, "max": 1.0},
        "Omega_m": {"prior": "uniform", "min": 0.2, "max": 0.4},
        "h": 0.7, "Omega_b": 0.05, "m_nu": 0.06,
    }  # fmt: skip
    domain = Domain.of(parameters, "mead2020")
    sizes = {"n_outputs": 4, "n_components": 2, "hidden_features": 3}
    networks = {n: SpectrumNetwork(n_inputs=2, **sizes) for n in ("linear", "boost")}
    errors = [{"power": p, "q68": 0.1, "q99": 0.2} for p in ("linear", "nonlinear")]
    emulator = Emulator(domain, "mead2020", 1.0, 6.0, networks, errors)
    io.save_model(tmp_path / "a.pt", *emulator.to_state())
    loaded = Emulator.from_state(*io.load_model(tmp_path / "a.pt"))
    one = domain.complete(np.array([0.8, 0.95, 0.3]))
    assert (one["sigma_8"], one["n_s"], one["Omega_m"]) == (0.8, 0.95, 0.3)
    for known in (domain, loaded.domain):
        np.testing.assert_allclose(shape_inputs(known, one), [0.95, np.log(0.3)])


def test_members_of_a_posterior_keep_their_order(tmp_path):
    from mflens.infer.posterior import LinearGaussian

    members = [LinearGaussian(n_features=1, n_parameters=1) for _ in range(12)]
    for number, member in enumerate(members):
        member.unit.fill_(1.0), member.spread.fill_(1.0), member.covariance.fill_(1.0)
        member.offset.fill_(float(number))
    io.save_model(tmp_path / "a.pt", *Posterior(members, "spectra").to_state())
    loaded = Posterior.from_state(*io.load_model(tmp_path / "a.pt"))
    found = [float(member(torch.zeros(1, 1)).mean) for member in loaded.members]
    assert found == list(range(12))


def test_the_config_of_a_run_keeps_the_order_of_its_parameters(tmp_path, monkeypatch):
    config = merge(read_config("smoke"), {"results_dir": str(tmp_path)})
    config["theory"]["parameters"] = {"w0": -1.0, **PARAMETERS, "Omega_b": 0.05}
    provenance.write_run_config(config)
    order = list(config["theory"]["parameters"])
    assert (
        list(yaml.safe_load((tmp_path / "run.yaml").read_text())["theory"]["parameters"]) == order
    )
    assert list(read_run_config(tmp_path, [])["theory"]["parameters"]) == order
    # another order is another config: columns would be exchanged
    turned = merge(config, {})
    turned["theory"]["parameters"] = dict(reversed(config["theory"]["parameters"].items()))
    assert provenance.hash_of_config(turned) != provenance.hash_of_config(config)


def test_hdf5_is_read_in_the_order_that_is_asked_for(tmp_path):
    """HDF5 itself lists names by the alphabet."""
    io.write_hdf5(tmp_path / "a.h5", {"z": np.zeros(1), "a": np.ones(1)}, {"parameters": NAMES})
    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file) == ["a", "z"]
    arrays, attributes = io.read_hdf5(tmp_path / "a.h5", ["z", "a"])
    assert list(arrays) == ["z", "a"]
    assert list(attributes["parameters"]) == NAMES


def test_records_tell_orders_apart(tmp_path):
    """A job that gets its parameters in another order makes another product."""
    hashes = set()
    for parameters in (PARAMETERS, dict(sorted(PARAMETERS.items()))):
        with job(tmp_path, params=Named(code="abc", parameters=parameters)):
            io.write_json(tmp_path / "a.json", {})
        hashes.add(provenance.read_record(tmp_path / "a.json")["config_hash"])
    assert len(hashes) == 2
