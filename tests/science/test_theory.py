"""Theory against independent codes and direct integration."""

import camb
import numpy as np
import pytest
from scipy.special import spherical_jn

from accuracy import (
    CORNERS,
    ELL_MAX,
    K_MAX_FAST,
    RAISED,
    SmoothShells,
    Universe,
    camb_spectra,
    difference,
    direct_spectra,
    fast_spectra,
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


def test_compressed_kernels_give_the_spectra_of_the_full_ones():
    """Linear power of a baryon-rich universe: the strongest wiggles that the prior holds."""
    shells = Shells(4, 200.0)
    growth = make_geometry(CORNERS[1], shells).shell_growth
    power = compute_power(CORNERS[1], growth.z, K_MAX_FAST, "mead2020")
    linear = power.linear * growth.mean[:, None] ** 2
    k = wavenumbers(shells, K_MAX_FAST, 1000.0)
    nodes, kernels = node_wavenumbers(k), compute_kernels(shells, k, 32)
    weights = compress_kernels(kernels, k, nodes)
    few = shell_spectra(weights, growth, interpolate_log(power.k, linear, nodes))
    full = matter_spectra(
        kernels, k, growth, interpolate_log(power.k, linear, k), continuum_measure(k)
    )
    assert np.abs(difference(few, full))[2:].max() < 1e-3


def test_shell_spectra_equal_direct_integration():
    """HMCode and sharp edges in a corner of the prior; all figures are in report/accuracy.md."""
    universe, shells, ell = Universe(CORNERS[1], nonlinear=True), Shells(4, 200.0), [2, 10, 40, 128]
    direct = direct_spectra(universe, shells, [1, 2, 3], ell)
    assert np.abs(difference(fast_spectra(universe, shells)[ell, 1:, 1:], direct)).max() < 2e-3


@pytest.mark.accuracy
def test_shell_spectra_agree_with_camb_source_windows():
    """Linear power, the same smooth-edged windows; beyond l of 40 CAMB itself is not converged."""
    universe, shells, chosen = Universe(CORNERS[0]), SmoothShells(8, 200.0), [5, 6]
    codes = camb_spectra(universe, shells, chosen, ELL_MAX, **RAISED)
    ours = fast_spectra(universe, shells)[:, 5:7, 5:7]
    error = np.abs(difference(ours, codes)).max(axis=(1, 2))
    assert error[10:41].max() < 5e-3
    assert error[2:10].max() < 2e-2
