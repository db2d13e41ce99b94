"""Theory against independent codes and direct integration."""

import camb
import numpy as np
import pytest
from scipy.special import spherical_jn

from mflens.theory.growth import compute_growth
from mflens.theory.kernels import Shells, compute_kernels
from mflens.theory.power import camb_parameters, compute_power
from mflens.theory.spectra import continuum_measure, lattice_measure, matter_spectra

PLANCK = {"Omega_m": 0.31, "sigma_8": 0.81, "h": 0.67, "n_s": 0.965, "Omega_b": 0.049, "m_nu": 0.06}


def test_kernels_equal_direct_integration():
    shells = Shells(3, 300.0)
    k = np.array([1e-3, 0.02, 0.3, 1.7])
    kernels = compute_kernels(shells, k, 60)
    for i in range(3):
        chi, weight = shells.quadrature(i, 500)
        for ell in (0, 2, 17, 60):
            exact = [(weight * spherical_jn(ell, x * chi)).sum() for x in k]
            np.testing.assert_allclose(kernels[ell, i, 0], exact, atol=1e-7)


def test_growth_agrees_with_camb():
    cosmology = {**PLANCK, "m_nu": 0.0}
    z = np.array([0.0, 0.5, 1.0, 1.5])
    power = compute_power({**cosmology}, z, 2.0, "mead2020")
    params = camb_parameters(cosmology)
    params.set_matter_power(redshifts=z[::-1], kmax=2.0, nonlinear=False)
    k, _, linear = camb.get_results(params).get_matter_power_spectrum(1e-3, 0.1, 20)
    growth = compute_growth(cosmology["Omega_m"]).at("first", 1 / (1 + z))
    np.testing.assert_allclose(np.sqrt(linear / linear[0]).mean(axis=1), growth, rtol=4e-3)
    assert power.nonlinear.shape == (4, power.k.size)


def test_second_order_growth_in_matter_domination():
    growth = compute_growth(1.0)
    np.testing.assert_allclose(growth.first, np.exp(growth.ln_a), rtol=1e-5)
    np.testing.assert_allclose(growth.second, -3 / 7 * growth.first**2, rtol=1e-5)
    np.testing.assert_allclose(growth.at("time", 0.25), -2 * (0.25**-0.5 - 1), rtol=1e-4)


def test_power_has_the_wanted_sigma_8():
    power = compute_power(PLANCK, np.array([0.0]), 5.0, "mead2020")
    x = 8 * power.k
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    variance = np.trapezoid(power.k**3 * power.linear * window**2, np.log(power.k)) / (2 * np.pi**2)
    assert np.sqrt(variance) == pytest.approx(PLANCK["sigma_8"], rel=2e-3)


def test_lattice_measure_tends_to_the_continuum():
    k = np.linspace(0.01, 0.5, 800)
    lattice, continuum = lattice_measure(k, 64, 400.0), continuum_measure(k)
    inside = (k > 0.1) & (k < 0.45)
    assert lattice[inside].sum() == pytest.approx(continuum[inside].sum(), rel=5e-3)


@pytest.mark.slow
def test_shell_spectra_agree_with_camb_source_windows(world):
    """Same linear power, smooth windows approximating two shells, at CAMB's default accuracy.

    CAMB's own error there is 1.6 to 3 per cent at 10 < l < 50, so 4 per cent is asked for.
    """
    from glass.ext.camb import matter_cls

    cosmology, ell = world.cosmology, np.arange(10, 51)
    chosen = [4, 6]
    params = camb_parameters(cosmology.parameters)
    scale = cosmology.parameters["sigma_8"] / _sigma_8(cosmology.parameters)
    params.InitPower.As *= scale**2
    params.NonLinear = camb.model.NonLinear_none
    codes = matter_cls(params, 60, [world.windows[i] for i in chosen])
    linear = np.exp(np.interp(np.log(world.k), np.log(cosmology.k), np.log(cosmology.linear)))
    growth = cosmology.shell_growth
    ours = matter_spectra(
        world.kernels, world.k, growth, linear * growth.mean[:, None] ** 2,
        continuum_measure(world.k),
    )  # fmt: skip
    # GLASS's order of spectra: 00, 11, 10
    for number, i in enumerate(chosen):
        ratio = ours[ell, i, i] / codes[number][ell]
        assert abs(ratio.mean() - 1) < 0.04
        assert np.abs(ratio - 1).max() < 0.08


def _sigma_8(parameters):
    params = camb_parameters(parameters)
    params.set_matter_power(redshifts=[0.0], kmax=2.0, nonlinear=False)
    return camb.get_results(params).get_sigma8_0()
