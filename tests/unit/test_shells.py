"""Shells as far as any prior needs them: distances, growth and spectra of the farthest."""

import numpy as np
import pytest
from astropy import units
from astropy.cosmology import LambdaCDM
from cosmology.compat.camb import Cosmology as Background

from mflens.parameters import Z_FAR, Z_MAX
from mflens.simulate.mesh.lightcone import Mesh
from mflens.simulate.mesh.particles import ParticleMesh
from mflens.simulate.survey.line_of_sight import lensing_kernel, line_of_sight, source_shares
from mflens.simulate.survey.redshifts import source_distributions
from mflens.simulate.survey.response import response
from mflens.simulate.tiers import Sky
from mflens.theory.cosmology import make_cosmology, make_geometry
from mflens.theory.distances import Distances
from mflens.theory.emulator.domain import Domain
from mflens.theory.emulator.training import farthest_redshift, training_spectra
from mflens.theory.growth import growth_of, radiation_density
from mflens.theory.kernels import (
    Shells,
    compute_kernels,
    node_wavenumbers,
    wavenumbers,
)
from mflens.theory.power import compute_background
from mflens.theory.spectra import compress_kernels

PARAMETERS = {
    "Omega_m": 0.3, "sigma_8": 0.8, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0
}  # fmt: skip
UNIFORM = {"prior": "uniform", "min": 0.1, "max": 0.9}
# to z = 3 at Omega_m = 0.1, and beyond all there is to see at 0.9
WIDE = Shells(28, 220.0)


def distances(omega_m):
    parameters = PARAMETERS | {"Omega_m": omega_m}
    return Distances(Background(compute_background(parameters)), parameters["h"])


@pytest.mark.parametrize("omega_m", [0.1, 0.3, 0.9])
def test_distances_are_those_of_an_integral_of_our_own(omega_m):
    radiation = radiation_density(PARAMETERS | {"Omega_m": omega_m})
    found = distances(omega_m)
    z = np.array([0.001, 0.1, 0.7, 1.5, 3.0, 6.0, 20.0, 300.0])
    x = np.linspace(0, 1, 20_001)[:, None] * np.log1p(z)
    a = np.exp(-x)
    expansion = np.sqrt(omega_m / a**3 + radiation / a**4 + 1 - omega_m - radiation)
    right = np.trapezoid(2997.92458 / (a * expansion), x, axis=0)
    np.testing.assert_allclose(found.distance(z), right, rtol=3e-6)
    np.testing.assert_allclose(found.redshift(right), z, rtol=1e-4)
    assert found.redshift(0.0) == 0
    end = found.redshift(found.chi[-1] + np.array([-1.0, 0.0, 1.0, 2000.0]))
    assert end[1] == pytest.approx(Z_MAX) and np.isfinite(end).all()
    np.testing.assert_allclose(np.diff(np.log(end))[1], np.diff(np.log(end))[0], rtol=0.02)


@pytest.mark.parametrize("omega_m", [0.1, 0.3])
def test_near_distances_agree_with_astropy(omega_m):
    z = np.linspace(0.01, 3, 50)
    right = LambdaCDM(100, omega_m, 1 - omega_m).comoving_distance(z).to_value(units.Mpc)
    np.testing.assert_allclose(distances(omega_m).distance(z), right, rtol=1e-3)


def test_the_farthest_shells_hold_the_matter_of_one_time():
    geometry = make_geometry(PARAMETERS | {"Omega_m": 0.9}, WIDE)
    growth = geometry.shell_growth
    far = distances(0.9).redshift(WIDE.edges[:-1]) > Z_FAR
    assert far.sum() == 5
    assert np.all(growth.z[far] == Z_FAR) and np.all(growth.z[~far] < Z_FAR)
    assert np.all(np.diff(growth.z[~far]) > 0)
    np.testing.assert_allclose(growth.slope[far], 0, atol=1e-12)
    expected = growth_of(geometry.parameters).at("first", 1 / (1 + Z_FAR))
    np.testing.assert_allclose(growth.mean[far], expected, rtol=1e-9)


def test_a_line_of_sight_beyond_all_there_is_to_see_has_an_extent():
    """And sources of any bin lie where they are, whatever shells follow."""
    parameters = PARAMETERS | {"Omega_m": 0.9}
    z, bins = source_distributions({"kind": "gaussian", "mean": [0.5], "sd": [0.1], "z_max": 1.0})
    found = []
    for n_shells in (20, 70):
        shells = Shells(n_shells, 100.0)
        sight = line_of_sight(shells, make_geometry(parameters, shells))
        assert np.all(np.diff(sight.z_edges.ravel()) >= 0) and np.isfinite(sight.z_edges).all()
        found.append(response(lensing_kernel(source_shares(z, bins, sight), sight, 0.9), sight))
    np.testing.assert_allclose(found[1][:, :20], found[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[1][:, 20:], 0, atol=1e-11)


def test_spectra_of_a_wide_prior_are_those_of_shells_of_their_own():
    """What is nearer than z = 20 does not change by what lies behind it."""
    parameters = PARAMETERS | {"Omega_m": 0.9}
    found = {}
    for n_shells in (12, 28):
        shells = Shells(n_shells, 220.0)
        # one grid of wavenumbers for both
        k = wavenumbers(WIDE, 0.2, 1000.0)
        nodes = node_wavenumbers(k)
        weights = compress_kernels(compute_kernels(shells, k, 8), k, nodes)
        found[n_shells] = make_cosmology(0, parameters, shells, weights, nodes, "mead2020").spectra
    assert np.isfinite(found[28]).all()
    assert np.all(np.diagonal(found[28], axis1=1, axis2=2)[2:] > 0)
    np.testing.assert_allclose(
        found[28][:, :11, :11], found[12][:, :11, :11], rtol=1e-3, atol=1e-12
    )


def test_the_emulator_is_trained_as_far_as_any_cosmology_of_the_prior():
    entries = PARAMETERS | {"Omega_m": UNIFORM, "sigma_8": UNIFORM}
    domain = Domain.of(entries, "mead2020")
    assert farthest_redshift(domain, WIDE) == Z_FAR
    shells = Shells(18, 200.0)
    narrow = Domain.of(entries | {"Omega_m": UNIFORM | {"max": 0.45}}, "mead2020")
    end = make_geometry(PARAMETERS | {"Omega_m": 0.45}, shells).shell_growth.z[-1]
    assert farthest_redshift(narrow, shells) == pytest.approx(end, rel=1e-6)
    spectra = training_spectra(np.array([0.9, 0.8]), domain, WIDE, 1.0, "mead2020", 1)
    assert spectra["nonlinear"].shape[1] == spectra["z"].size == 30
    # ln P of shells of one time are the same
    np.testing.assert_array_equal(spectra["nonlinear"][0, -2], spectra["nonlinear"][0, -3])


def test_particles_start_before_the_farthest_shell():
    """A mesh tier that starts at z = 9 shows shells at z = 20 as second-order theory has them."""
    parameters = PARAMETERS | {"Omega_m": 0.9}
    sky = Sky(Shells(27, 220.0), 8, 16, Mesh(16, 500.0, 16))
    geometry = make_geometry(parameters, sky.shells)
    tier = ParticleMesh(sky, z_start=9.0, max_step_ln_a=0.5)
    rng = np.random.default_rng(0)
    linear = np.fft.rfftn(rng.normal(size=(16, 16, 16))).astype(np.complex64)
    shells = dict(tier.evolve(geometry, linear))
    assert sorted(shells) == list(range(27))
    scatter = np.array([np.abs(shells[i]).std() for i in range(27)])
    first = geometry.shell_growth.mean
    assert np.all(np.diff(scatter) <= 0)
    np.testing.assert_allclose(scatter[15:] / scatter[-1], first[15:] / first[-1], rtol=0.15)
