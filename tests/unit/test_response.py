"""Where sources are and how shells lense them, against closed forms, quadrature and GLASS."""

import glass
import numpy as np
import pytest
from scipy import integrate, stats

from cosmologies import power_at, simple_cosmology
from mflens.simulate.survey.line_of_sight import lensing_kernel, line_of_sight, source_shares
from mflens.simulate.survey.redshifts import cumulative, source_distributions
from mflens.simulate.survey.response import (
    fitted_multipoles,
    limber_spectra,
    matter_along,
    response,
)
from mflens.theory.cosmology import make_geometry
from mflens.theory.kernels import Shells

PARAMETERS = {
    "Omega_m": 0.3, "sigma_8": 0.8, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0
}  # fmt: skip
SHELLS, ELL_MAX = Shells(18, 200.0), 128
GAUSSIAN = {"kind": "gaussian", "mean": [0.25, 0.95], "sd": [0.08, 0.15], "z_max": 1.5}


@pytest.fixture(scope="module")
def cosmology():
    return simple_cosmology(PARAMETERS, SHELLS, ELL_MAX)


@pytest.fixture(scope="module")
def sight(cosmology):
    return line_of_sight(SHELLS, cosmology)


def outliers():
    """Three narrow bins, each with a clump of sources far from the others."""
    z = np.arange(0, 1.6, 0.004)
    near, far = [0.2, 0.6, 1.2], [1.3, 0.15, 0.2]
    bins = [
        0.9 * stats.norm.pdf(z, a, 0.04) + 0.1 * stats.norm.pdf(z, b, 0.05)
        for a, b in zip(near, far, strict=True)
    ]
    bins = np.stack(bins)
    return z, bins / np.trapezoid(bins, z, axis=1)[:, None]


def test_cumulative_is_exact_for_straight_lines():
    # a triangle from 1 to 3, its top at 2: areas of triangles
    z, n = np.array([1.0, 2.0, 3.0]), np.array([0.0, 5.0, 0.0])
    at = np.array([0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 9.0])
    wanted = 5 * np.array([0, 0, 0.125, 0.5, 0.875, 1, 1])
    np.testing.assert_allclose(cumulative(z, n, at), wanted, atol=1e-14)


def test_a_share_is_the_integral_of_n_over_the_shell(cosmology, sight):
    """Two Gaussians, by the error function; far shells hold none of the near bin's sources."""
    z, bins = source_distributions(GAUSSIAN)
    shares = source_shares(z, bins, sight)
    edges = cosmology.distances.redshift(SHELLS.edges)
    for b, (mean, sd) in enumerate(zip(GAUSSIAN["mean"], GAUSSIAN["sd"], strict=True)):
        normal = stats.truncnorm(-mean / sd, (1.5 - mean) / sd, mean, sd)
        # the distribution ends within the last shells
        np.testing.assert_allclose(
            shares[b].sum(axis=1), np.diff(normal.cdf(np.minimum(edges, 1.5))), atol=2e-4
        )
        assert (shares[b] * sight.z).sum() == pytest.approx(normal.mean(), abs=2e-4)
    assert shares[0][sight.z > 0.7].max() < 1e-6


def test_sources_behind_the_last_shell_stand_at_its_end(cosmology):
    z, bins = source_distributions(GAUSSIAN)
    few = line_of_sight(Shells(9, 200.0), cosmology)
    shares = source_shares(z, bins, few)
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), 1)
    assert shares[1, -1, -1] > 0.8


def test_kernel_is_the_lensing_efficiency(cosmology, sight):
    """Against quadrature over the sources at distances inside, before and behind them."""
    z, bins = source_distributions(GAUSSIAN)
    kernel = lensing_kernel(source_shares(z, bins, sight), sight, 0.3)
    for b in range(2):
        for i, step in ((0, 20), (2, 3), (5, 16), (9, 31), (13, 8)):
            chi, at = sight.chi[i, step], sight.z[i, step]

            def behind(x, b=b, chi=chi):
                far = cosmology.distances.distance(x)
                return np.interp(x, z, bins[b]) * (1 - chi / far)

            points = z[(z > at) & (z < 1.5)]
            efficiency = integrate.quad(behind, at, 1.5, points=points, limit=2000)[0]
            wanted = 1.5 * 0.3 / 2997.92458**2 * (1 + at) * chi * efficiency
            assert kernel[b, i, step] == pytest.approx(wanted, rel=2e-3, abs=1e-9)


def test_thin_shells_are_lensed_as_by_glass():
    """GLASS's planes converge to the integral of the kernel as shells get thin."""
    thin = Shells(90, 40.0)
    geometry = make_geometry(PARAMETERS, thin)
    thin_sight = line_of_sight(thin, geometry)
    z, bins = source_distributions(GAUSSIAN | {"mean": [0.5, 0.95]})
    shares = source_shares(z, bins, thin_sight)
    found = response(lensing_kernel(shares, thin_sight, 0.3), thin_sight)
    windows = [
        glass.RadialWindow(edges, chi**2, float(middle @ volume))
        for edges, chi, middle, volume in zip(
            thin_sight.z_edges, thin_sight.edges, thin_sight.z, thin_sight.volume, strict=True
        )
    ]
    wanted = shares.sum(axis=2) @ np.asarray(glass.multi_plane_matrix(windows, geometry.background))
    strong = wanted > 0.1 * wanted.max(axis=1, keepdims=True)
    strong[:, :5] = False
    np.testing.assert_allclose(found[strong], wanted[strong], rtol=0.02)
    np.testing.assert_allclose(found[:, 5:].sum(axis=1), wanted[:, 5:].sum(axis=1), rtol=2e-3)


@pytest.mark.parametrize("sources", [source_distributions(GAUSSIAN), outliers()])
def test_response_gives_the_spectra_of_limbers_integral(cosmology, sight, sources):
    """Against scipy's quadrature of a power law of the tests, at l between those of the fit."""
    shares = source_shares(*sources, sight)
    kernel = lensing_kernel(shares, sight, 0.3)
    found = response(kernel, sight, matter_along(sight, cosmology))
    plain = response(kernel, sight)
    errors, plain_errors = [], []
    for ell in (20, 30, 55, 90, 128):
        chi = np.linspace(1.0, SHELLS.edges[-1], 20001)
        z = cosmology.distances.redshift(chi)
        growth = cosmology.growth.at("first", 1 / (1 + z))
        fine = np.stack([np.interp(chi, sight.chi.ravel(), one.ravel()) for one in kernel])
        weighted = fine / chi * np.sqrt(power_at((ell + 0.5) / chi, growth))
        wanted = np.trapezoid(weighted[:, None] * weighted, chi)
        for result, to in ((found, errors), (plain, plain_errors)):
            to.append(result @ cosmology.spectra[ell] @ result.T / wanted - 1)
    assert np.abs(errors).max() < 0.008
    # without the fit there is too much power, most between near and far bins
    assert 0.02 < np.max(plain_errors) < 0.1
    np.testing.assert_allclose(found.sum(axis=1), plain.sum(axis=1), rtol=0.05)
    assert np.all(found >= 0)


def test_limber_spectra_of_a_constant_kernel_have_a_closed_form(sight):
    # W = 1, P = chi^2: the length of the line of sight
    kernel = np.ones((2, *sight.chi.shape))
    found = limber_spectra(kernel, sight, np.broadcast_to(sight.chi**2, (3, *sight.chi.shape)))
    np.testing.assert_allclose(found, SHELLS.edges[-1])


@pytest.mark.parametrize("ell_max", [4, 16, 32, 128, 1024])
def test_multipoles_of_the_fit_lie_in_the_band(ell_max):
    ell = fitted_multipoles(ell_max)
    assert ell[0] >= 2 and ell[-1] == ell_max and np.all(np.diff(ell) > 0)
