"""The emulator's parts without CAMB: its domain, its networks, its file."""

import numpy as np
import pytest
import torch

from mflens.errors import ConfigError
from mflens.files.io import load_model, save_model
from mflens.theory.emulator.domain import Domain
from mflens.theory.emulator.networks import (
    Emulator,
    SpectrumNetwork,
    phase_grid,
    set_amplitude,
    smooth_power,
    sound_horizon,
)
from mflens.theory.emulator.training import measure_errors, train_emulator
from mflens.theory.growth import growth_of
from mflens.theory.power import N_K

PARAMETERS = {
    "Omega_m": {"prior": "uniform", "min": 0.2, "max": 0.4},
    "sigma_8": {"prior": "normal", "mean": 0.8, "sd": 0.02},
    "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0,
}  # fmt: skip
DOMAIN = Domain.of(PARAMETERS, "mead2020")
INSIDE = DOMAIN.complete(np.array([0.3, 0.8]))
Z = np.array([0.0, 0.5, 1.0])


TRAINING = {"steps": 1500, "batch_size": 64, "learning_rate": 5e-3}


def universe(parameters, k):
    """ln P of a made-up universe, linear today and at the redshifts Z, and its sigma_8."""
    growth = growth_of(parameters)
    linear = np.log(smooth_power(parameters, k, growth)) + 0.1 * parameters["Omega_m"] * np.sin(k)
    scaled, sigma_8 = set_amplitude(k, linear, parameters)
    first = growth.at("first", 1 / (1 + Z))[:, None]
    bend = 2 * np.log1p(k * (sigma_8 * first) ** 2)
    return linear, scaled, scaled + 2 * np.log(first) + bend, sigma_8


def training_sample(n):
    phase, rows = phase_grid(DOMAIN, 5.0), []
    for theta in DOMAIN.draw(n, seed=1, stream=0):
        parameters = DOMAIN.complete(theta)
        k = phase / sound_horizon(parameters)
        made = [universe(each, k) for each in DOMAIN.amplitudes(parameters, 3)]
        linear, scaled, _, sigma_8 = made[0]
        start = sigma_8 * np.exp((linear - scaled)[0] / 2)
        rows.append(
            {"theta": theta, "z": Z, "linear": linear, "sigma_8_start": start,
             "sigma_8": np.array([m[3] for m in made]), "nonlinear": np.array([m[2] for m in made])}
        )  # fmt: skip
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def held_out_sample(n):
    k, rows = np.geomspace(1e-4, 5.0, N_K), []
    for theta in DOMAIN.draw(n, seed=1, stream=1):
        _, linear, evolved, _ = universe(DOMAIN.complete(theta), k)
        rows.append(
            {"theta": theta, "z": Z, "linear": np.exp(linear), "nonlinear": np.exp(evolved)}
        )
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module")
def emulator():
    """Return an emulator of the made-up universe, its errors measured."""
    made, history = train_emulator(
        training_sample(64), DOMAIN, "mead2020", 5.0,
        n_components=8, hidden_features=32, seed=0, **TRAINING,
    )  # fmt: skip
    assert [row["network"] for row in history] == ["linear"] * 40 + ["boost"] * 40
    assert all(np.isfinite(row["rms"]) for row in history)
    made.errors = measure_errors(made, held_out_sample(16)).to_dict("records")
    return made


def test_a_known_family_is_learned(emulator):
    """Linear and bent power of a formula, on cosmologies that no training saw."""
    assert emulator.accuracy["linear_q99"] < 0.1
    assert emulator.accuracy["nonlinear_q68"] < 0.3
    assert emulator.accuracy["nonlinear_q99"] < 1.0


def test_saved_emulator_gives_the_same_power(emulator, tmp_path):
    save_model(tmp_path / "emulator.pt", *emulator.to_state())
    again = Emulator.from_state(*load_model(tmp_path / "emulator.pt"))
    growth = growth_of(INSIDE)
    a, b = (each.power(INSIDE, Z, 4.0, growth) for each in (emulator, again))
    for name in ("k", "linear", "nonlinear"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert again.accuracy == emulator.accuracy and again.domain == emulator.domain
    assert a.k[0] == pytest.approx(1e-4) and a.k[-1] == pytest.approx(4.0)
    assert a.nonlinear.shape == (3, N_K)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Omega_m": 0.45}, ["theory.parameters.Omega_m", "0.45", "0.2 to 0.4"]),
        ({"sigma_8": 0.7}, ["theory.parameters.sigma_8", "0.7", "0.72 to 0.88"]),
        ({"h": 0.72}, ["theory.parameters.h", "0.72", "0.7 to 0.7"]),
        ({"w0": -0.9}, ["theory.parameters.w0", "-0.9", "-1 to -1"]),
        ({"Omega_b": None}, ["theory.parameters.Omega_b", "none", "0.046 to 0.046"]),
    ],
)
def test_cosmology_outside_is_refused_by_name(emulator, change, words):
    parameters = {**INSIDE, **change}
    with pytest.raises(ConfigError) as caught:
        emulator.power(parameters, Z, 4.0, growth_of(INSIDE))
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value) and "camb" in str(caught.value)


def test_redshift_and_wavenumber_outside_are_refused(emulator):
    growth = growth_of(INSIDE)
    with pytest.raises(ConfigError, match="theory.shells: they reach redshift 1.2, beyond"):
        emulator.power(INSIDE, np.array([0.5, 1.2]), 4.0, growth)
    with pytest.raises(ConfigError, match="theory.k_max_h_mpc: 6 is above the emulator's 5"):
        emulator.power(INSIDE, Z, 6.0, growth)


def test_domain_is_the_reach_of_the_priors():
    assert DOMAIN.free == {"Omega_m": (0.2, 0.4), "sigma_8": pytest.approx((0.72, 0.88))}
    assert DOMAIN.fixed["w0"] == -1.0 and DOMAIN.amplitude == "sigma_8"
    feedback = {**PARAMETERS, "log10_T_AGN": 7.8}
    assert "log10_T_AGN" not in Domain.of(feedback, "mead2020").fixed
    assert Domain.of(feedback, "mead2020_feedback").fixed["log10_T_AGN"] == 7.8


def test_training_and_validation_share_no_cosmology():
    a, b = (DOMAIN.draw(64, seed=5, stream=stream) for stream in (0, 1))
    assert not set(a[:, 0]) & set(b[:, 0])
    for theta in (*a, *b):
        DOMAIN.check(DOMAIN.complete(theta))


def test_amplitudes_spread_over_the_range():
    values = [each["sigma_8"] for each in DOMAIN.amplitudes(INSIDE, 4)]
    assert values[0] == pytest.approx(0.8)
    np.testing.assert_allclose(np.diff(np.sort(values)), 0.04, rtol=1e-9)
    fixed = Domain({"Omega_m": (0.2, 0.4)}, {"sigma_8": 0.8})
    assert len(fixed.amplitudes(INSIDE, 4)) == 1


def test_components_are_the_principal_ones():
    """Three directions of different size: recovered whole, whatever the offset and scale."""
    rng = np.random.default_rng(0)
    coefficients = torch.as_tensor(rng.normal(size=(200, 3)) * [3, 1, 0.1], dtype=torch.float32)
    directions = torch.linalg.qr(torch.as_tensor(rng.normal(size=(50, 3))).float())[0].mT
    spectra = 7 + coefficients @ directions
    network = SpectrumNetwork(n_inputs=2, n_outputs=50, n_components=3, hidden_features=4)
    found = network.calibrate(torch.ones(200, 2), spectra)
    np.testing.assert_allclose(network.mean + found @ network.basis, spectra, atol=1e-4)
    np.testing.assert_allclose(found.std(0), 1, rtol=1e-2)
    assert torch.isfinite(network(torch.ones(1, 2))).all()
