"""Theory against independent codes and direct integration."""

import camb
import numpy as np
import pytest
from scipy.special import spherical_jn

from accuracy import (
    CORNERS,
    LIGHT_CONES,
    LightCone,
    Universe,
    difference,
    measure_camb,
    measure_direct,
)
from mflens.theory.cosmology import make_geometry
from mflens.theory.growth import compute_growth
from mflens.theory.kernels import Shells, compute_kernels, node_wavenumbers, wavenumbers
from mflens.theory.power import camb_parameters, compute_power
from mflens.theory.spectra import (
    compress_kernels,
    continuum_measure,
    interpolate_log,
    lattice_measure,
    matter_spectra,
    shell_spectra,
)

# enough of a light cone for a minute: far and near shells of both widths
FEW = (
    LightCone(200.0, 8, 5.0, ((4, 5, 6, 7),)),
    LightCone(100.0, 4, 10.0, ((0, 1), (1, 2, 3))),
)
PLANCK = {"Omega_m": 0.31, "sigma_8": 0.81, "h": 0.67, "n_s": 0.965, "Omega_b": 0.049, "m_nu": 0.06}


def test_kernels_equal_direct_integration():
    shells = Shells(3, 300.0)
    k = np.array([1e-3, 0.02, 0.3, 1.7])
    kernels = compute_kernels(shells, k, 60)
    assert not ((kernels != 0) & (np.abs(kernels) < 1e-19)).any()
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


def test_compressed_kernels_give_the_spectra_of_the_full_ones():
    """Linear power of a baryon-rich universe: the strongest wiggles that the prior holds."""
    shells = Shells(4, 200.0)
    growth = make_geometry(CORNERS[1], shells).shell_growth
    power = compute_power(CORNERS[1], growth.z, 5.0, "mead2020")
    linear = power.linear * growth.mean[:, None] ** 2
    k = wavenumbers(shells, 5.0, 1000.0)
    nodes, kernels = node_wavenumbers(k), compute_kernels(shells, k, 32)
    weights = compress_kernels(kernels, k, nodes)
    assert not ((weights != 0) & (np.abs(weights) < np.finfo(np.float32).tiny)).any()
    few = shell_spectra(weights, growth, interpolate_log(power.k, linear, nodes))
    full = matter_spectra(
        kernels, k, growth, interpolate_log(power.k, linear, k), continuum_measure(k)
    )
    assert np.abs(difference(few, full))[2:].max() < 1e-3


def test_shell_spectra_equal_direct_integration():
    """HMCode and sharp edges at opposite corners of the prior, in per cent."""
    for parameters in (CORNERS[1], CORNERS[4]):
        universe = Universe(parameters)
        for cone in FEW:
            same, own, late = measure_direct(universe, cone, (2, 10, 128))
            assert same.max() < 0.1
            # the run's CAMB at default accuracy
            assert own.max() < 0.2
            assert 0 < late.max() < 1e-3


@pytest.mark.accuracy
@pytest.mark.parametrize("parameters", CORNERS, ids=lambda p: f"{p['Omega_m']}-{p['sigma_8']}")
def test_shell_spectra_over_the_prior(parameters):
    """The table of report/accuracy.md, in per cent."""
    universe = Universe(parameters)
    for cone in LIGHT_CONES:
        same, own, late = measure_direct(universe, cone)
        assert same.max() < 0.1
        assert own.max() < 0.2
        assert late.max() < 1e-3
        windows = measure_camb(universe, cone)
        assert windows[:, 0].max() < 2.0
        assert windows[:, 1].max() < 0.5
