"""Power spectra, growth and emulator against CAMB run by other means and against closed forms."""

import camb
import numpy as np
import pytest

from mflens.errors import ConfigError
from mflens.theory.emulator.domain import Domain
from mflens.theory.emulator.networks import set_amplitude, smooth_power
from mflens.theory.emulator.training import (
    measure_errors,
    train_emulator,
    training_spectra,
    validation_spectra,
)
from mflens.theory.growth import growth_of
from mflens.theory.kernels import Shells
from mflens.theory.power import (
    camb_parameters,
    compute_power,
    compute_transfer,
    feedback_response,
    tabulate,
)
from mflens.theory.power import set_amplitude as set_camb_amplitude

PLANCK = {"Omega_m": 0.31, "sigma_8": 0.81, "h": 0.67, "n_s": 0.965, "Omega_b": 0.049, "m_nu": 0.0}
SHAPE = {name: value for name, value in PLANCK.items() if name != "sigma_8"}
THAWING = {**PLANCK, "w0": -0.8, "wa": -0.5}
Z = np.array([0.0, 0.5, 1.0, 2.0])


@pytest.mark.parametrize(
    "cosmology", [PLANCK, {**PLANCK, "Omega_m": 0.15, "h": 0.6}, THAWING], ids=["LCDM", "low", "w"]
)
def test_growth_agrees_with_camb_below_the_horizon(cosmology):
    """sigma_8(z) of CAMB's Boltzmann solver and our growth equation, to a part in a thousand."""
    params = camb_parameters(cosmology)
    params.set_matter_power(redshifts=Z[::-1], kmax=2.0, nonlinear=False)
    sigma_8 = camb.get_results(params).get_sigma8()[::-1]
    growth = growth_of(cosmology).at("first", 1 / (1 + Z))
    np.testing.assert_allclose(sigma_8 / sigma_8[0], growth, rtol=1e-3)


def test_expansion_agrees_with_camb():
    growth = growth_of(THAWING)
    background = camb.get_background(camb_parameters(THAWING))
    ours = growth.at("expansion", 1 / (1 + Z)) * 100 * THAWING["h"]
    np.testing.assert_allclose(ours, background.hubble_parameter(Z), rtol=1e-5)


def test_growth_of_constant_dark_energy_in_closed_form():
    """D ~ a 2F1(-1/(3w), (w-1)/(2w); 1-5/(6w); -a^(-3w) (1-Omega_m)/Omega_m), Padmanabhan 2003."""
    from scipy.special import hyp2f1

    from mflens.theory.growth import compute_growth

    w, omega_m, a = -0.7, 0.3, np.array([0.2, 0.5, 0.8, 1.0])
    x = -(a ** (-3 * w)) * (1 - omega_m) / omega_m
    exact = a * hyp2f1(-1 / (3 * w), (w - 1) / (2 * w), 1 - 5 / (6 * w), x)
    found = compute_growth(omega_m, w0=w).at("first", a)
    np.testing.assert_allclose(found, exact / exact[-1], rtol=2e-5)


def test_amplitudes_are_one_and_the_same():
    """sigma_8, S_8 and A_s of one universe give one power; A_s by a run of CAMB of its own."""
    power = compute_power(PLANCK, Z, 2.0, "mead2020")
    s_8 = PLANCK["sigma_8"] * (PLANCK["Omega_m"] / 0.3) ** 0.5
    again = compute_power({**SHAPE, "S_8": s_8}, Z, 2.0, "mead2020")
    np.testing.assert_allclose(again.nonlinear, power.nonlinear, rtol=1e-9)
    params = camb_parameters(PLANCK)
    params.set_matter_power(redshifts=[0.0], kmax=20.0, nonlinear=False)
    a_s = 2.1e-9 * (PLANCK["sigma_8"] / camb.get_results(params).get_sigma8_0()) ** 2
    primordial = {**SHAPE, "A_s": a_s}
    again = compute_power(primordial, Z, 2.0, "mead2020")
    np.testing.assert_allclose(again.nonlinear, power.nonlinear, rtol=2e-3)


def test_nonlinear_power_agrees_with_a_plain_run_of_camb():
    """Dark energy and neutrinos included; CAMB asked the way its manual does."""
    cosmology = {**SHAPE, "A_s": 2e-9, "m_nu": 0.1, "w0": -0.9, "wa": 0.2}
    plain = camb.set_params(
        H0=67.0, ombh2=0.049 * 0.67**2, mnu=0.1, num_massive_neutrinos=1, As=2e-9, ns=0.965,
        omch2=(0.31 - 0.049) * 0.67**2 - 0.1 / 93.14 * 0.9994, w=-0.9, wa=0.2,
        dark_energy_model="ppf", halofit_version="mead2020", redshifts=Z[::-1], kmax=20.0,
        WantTransfer=True, NonLinear=camb.model.NonLinear_both,
    )  # fmt: skip
    plain.set_matter_power(redshifts=Z[::-1], kmax=20.0, nonlinear=True)
    _, _, expected = camb.get_results(plain).get_matter_power_spectrum(1e-4, 2.0, 400)
    found = compute_power(cosmology, Z, 2.0, "mead2020").nonlinear
    np.testing.assert_allclose(found, expected, rtol=3e-3)


def test_power_does_not_depend_on_the_largest_wavenumber():
    """HMCode needs small scales for large ones: at low amplitude and high z most of all."""
    faint, z = {**PLANCK, "sigma_8": 0.6}, np.array([0.5, 1.5])
    powers = []
    for largest in (2.0, 60.0):
        results = compute_transfer(faint, z, largest)
        set_camb_amplitude(results, faint)
        powers.append(tabulate(results, 1e-4, 2.0, "mead2020")[1])
    np.testing.assert_allclose(powers[0], powers[1], rtol=3e-3)


def test_feedback_takes_power_from_small_scales_only():
    k = np.geomspace(1e-3, 10.0, 60)
    hot, cool = (
        feedback_response({**PLANCK, "log10_T_AGN": t}, np.array([1.0, 0.0]), k) for t in (8.0, 7.6)
    )
    assert hot.shape == (2, 60)
    np.testing.assert_allclose(hot[:, k < 0.02], 1, atol=2e-3)
    # Mead et al. 2021, figure 5: some ten per cent at k = 3 h/Mpc today
    dip = hot[1, np.argmin(abs(k - 3))]
    assert 0.7 < dip < 0.95 and dip < cool[1, np.argmin(abs(k - 3))]
    # redshifts come back in the order they were asked for
    assert hot[1, -1] != pytest.approx(hot[0, -1], rel=1e-3)
    with pytest.raises(ConfigError, match="theory.parameters.log10_T_AGN"):
        feedback_response(PLANCK, Z, k)


def test_smooth_power_has_the_shape_and_the_amplitude_of_camb():
    """Eisenstein & Hu is good to some per cent in the transfer function, so twice that in power."""
    ratios = []
    for cosmology in (PLANCK, {**PLANCK, "Omega_m": 0.25, "h": 0.75, "n_s": 1.0}):
        k, linear = tabulate(compute_transfer(cosmology, np.zeros(1), 2.0), 1e-3, 2.0)
        ratio = linear[0] / smooth_power(cosmology, k, growth_of(cosmology))
        np.testing.assert_allclose(ratio / ratio.mean(), 1, atol=0.12)
        ratios.append(ratio.mean())
    assert ratios[0] == pytest.approx(ratios[1], rel=0.03)


def test_sigma_8_of_the_phase_grid_is_that_of_camb():
    results = compute_transfer(PLANCK, np.zeros(1), 5.0)
    k, linear = tabulate(results, 1e-4, 5.0)
    _, sigma_8 = set_amplitude(k, np.log(linear[0]), {**SHAPE, "A_s": 2.1e-9})
    assert sigma_8 == pytest.approx(results.get_sigma8_0(), rel=2e-4)


def uniform(low, high):
    return {"prior": "uniform", "min": low, "max": high}


def train(parameters, n_training, n_validation, shells, k_max, **networks):
    """Train an emulator and return it with the table of its errors."""
    domain = Domain.of(parameters, "mead2020")
    samples = [
        [make(theta, domain, shells, k_max, "mead2020", *more) for theta in domain.draw(n, 1, i)]
        for i, (make, n, more) in enumerate(
            [(training_spectra, n_training, (2,)), (validation_spectra, n_validation, ())]
        )
    ]
    known, held_out = (
        {name: np.stack([row[name] for row in rows]) for name in rows[0]} for rows in samples
    )
    emulator, _ = train_emulator(known, domain, "mead2020", k_max, seed=0, **networks)
    return emulator, measure_errors(emulator, held_out)


def test_emulator_of_two_parameters_from_a_few_cosmologies():
    """24 cosmologies are enough for 1 per cent at 99 % of scales, redshifts and cosmologies."""
    parameters = PLANCK | {"Omega_m": uniform(0.25, 0.35), "sigma_8": uniform(0.7, 0.9)}
    emulator, errors = train(
        parameters, 24, 6, Shells(9, 400.0), 5.0,
        n_components=16, hidden_features=64, steps=3000, batch_size=64, learning_rate=5e-3,
    )  # fmt: skip
    overall = errors.groupby("power").first()
    assert overall.loc["linear", "q99"] < 0.5
    assert overall.loc["nonlinear", "q68"] < 0.3
    assert overall.loc["nonlinear", "q99"] < 1.0
    # the same through the interface of a run, at a cosmology of its own
    inside = {**PLANCK, "Omega_m": 0.29, "sigma_8": 0.78}
    z = np.array([0.1, 0.9])
    ours = emulator.power(inside, z, 3.0, growth_of(inside))
    camb_power = compute_power(inside, z, 3.0, "mead2020")
    np.testing.assert_array_equal(ours.k.round(9), camb_power.k.round(9))
    np.testing.assert_allclose(ours.linear, camb_power.linear, rtol=0.01)
    np.testing.assert_allclose(ours.nonlinear, camb_power.nonlinear, rtol=0.015)


@pytest.mark.accuracy
def test_emulator_of_five_parameters():
    """224 cosmologies, to 10 h/Mpc: 0.3 % at 68 %, 1 % at 99 %; 6 minutes."""
    parameters = PLANCK | {
        "Omega_m": uniform(0.15, 0.45), "sigma_8": uniform(0.6, 1.0), "h": uniform(0.6, 0.8),
        "n_s": uniform(0.9, 1.02), "Omega_b": uniform(0.03, 0.06),
    }  # fmt: skip
    _, errors = train(
        parameters, 224, 64, Shells(18, 200.0), 10.0,
        n_components=24, hidden_features=128, steps=6000, batch_size=256, learning_rate=3e-3,
    )  # fmt: skip
    overall = errors.groupby("power").first()
    assert (overall["q68"] < 0.3).all() and (overall["q99"] < 1.0).all()
