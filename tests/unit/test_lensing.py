"""Lensing of shells against GLASS's own recurrence and healpy's transforms."""

from types import SimpleNamespace

import glass
import healpy
import numpy as np
import pytest

from mflens.errors import DataError
from mflens.simulate import harmonics, lensing
from mflens.simulate.chunk import Sim, simulate_chunk
from mflens.simulate.randomness import BaseMeasure
from mflens.simulate.survey import make_survey
from mflens.theory.cosmology import make_geometry
from mflens.theory.kernels import Shells

PARAMETERS = {
    "Omega_m": 0.3, "sigma_8": 0.8, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0
}  # fmt: skip
NSIDE, ELL_MAX, SHELLS = 16, 32, Shells(9, 400.0)
SURVEY = {
    "redshifts": {
        "kind": "smail", "z_0": 0.64, "alpha": 2.0, "beta": 1.5, "sigma_z": 0.05, "z_max": 1.5,
        "edges": [0.0, 0.5, 0.9, 1.5],
    },
    "n_gal_arcmin2": [5.0, 5.0, 5.0], "sigma_e": 0.26, "noise": "gaussian", "source_bias": 0.0,
    "mask": "octant", "min_coverage": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def world():
    geometry = make_geometry(PARAMETERS, SHELLS)
    survey = make_survey(SURVEY, NSIDE)
    windows = lensing.shell_windows(SHELLS, geometry.background, PARAMETERS["h"])
    planes = survey.source_planes(windows, geometry.background, PARAMETERS)
    return SimpleNamespace(geometry=geometry, survey=survey, windows=windows, planes=planes)


def test_convergence_equals_the_recurrence_of_glass(world):
    shells = np.random.default_rng(0).normal(size=(SHELLS.n_shells, 12 * NSIDE**2))
    shares = lensing.source_shares(world.survey.z, world.survey.n_of_z, world.windows)
    planes = glass.MultiPlaneConvergence(world.geometry.background)
    expected = np.zeros((3, shells.shape[1]))
    for i, (delta, window) in enumerate(zip(shells, world.windows, strict=True)):
        planes.add_window(delta.copy(), window)
        expected += shares[:, i, None] * planes.kappa
    np.testing.assert_allclose(world.planes.response @ shells, expected, atol=1e-10)


def test_shares_sum_to_one_and_nothing_behind_a_source_lenses_it(world):
    shares = lensing.source_shares(world.survey.z, world.survey.n_of_z, world.windows)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert np.all(shares >= 0)
    matrix = world.planes.convergence
    assert np.all(np.triu(matrix) == 0)
    assert np.all(matrix[np.tril_indices(SHELLS.n_shells, -1)] > 0)


def test_response_is_the_integral_of_the_lensing_efficiency(world):
    # kappa = 3/2 Omega_m H_0^2/c^2 int (1+z) chi (chi_s - chi) / chi_s delta dchi, one source plane
    source = SHELLS.n_shells - 1
    found = world.planes.convergence[source]
    background = world.geometry.background
    end = float(background.comoving_distance(world.windows[source].zeff)) * PARAMETERS["h"]
    chi = np.linspace(0, SHELLS.edges[source], 40001)
    z = np.interp(chi, *_distances(background))
    weight = 1.5 * PARAMETERS["Omega_m"] / 2997.92458**2 * (1 + z) * chi * (end - chi) / end
    expected = [
        np.trapezoid(weight[inside], chi[inside])
        for inside in (
            (chi >= low) & (chi <= high)
            for low, high in zip(SHELLS.edges[:source], SHELLS.edges[1 : source + 1], strict=True)
        )
    ]
    # a plane in place of a shell 400 Mpc/h thick: its error falls with distance
    np.testing.assert_allclose(found[1:source], expected[1:], rtol=0.04)
    np.testing.assert_allclose(found[4:source], expected[4:], rtol=0.01)


def _distances(background):
    z = np.linspace(0, 3, 3001)
    return np.asarray(background.comoving_distance(z)) * PARAMETERS["h"], z


def test_shear_equals_glass_shear_of_a_band_limited_convergence(world):
    alm = BaseMeasure(1).harmonics("harmonics", 3, ELL_MAX)
    alm *= 0.01 / (1 + np.arange(alm.shape[1]) % 7)
    kappa = np.stack([healpy.alm2map(one, NSIDE, lmax=ELL_MAX) for one in alm])
    pixel = world.survey.pixel_ring
    ours = lensing.shear(kappa, ELL_MAX, pixel)
    for b in range(3):
        theirs = glass.from_convergence(kappa[b], ELL_MAX, shear=True, discretized=False)[0]
        # GLASS keeps the sign of gamma_2 of its own (IAU) axes
        expected = np.stack([theirs.real, theirs.imag])[:, pixel]
        sign = np.sign(np.sum(ours[b] * expected, axis=1))[:, None]
        error, scale = ours[b] - sign * expected, expected.std()
        # GLASS iterates; the octant holds a pole, next to which one pass is worst
        assert np.sqrt(np.mean(error**2)) < 0.015 * scale
        assert np.abs(error).max() < 0.15 * scale


def test_one_pass_over_the_pixels_gives_the_spectra_of_the_shear():
    nside, ell_max = 64, 128
    ell, band = harmonics.degrees(ell_max), [slice(2, 8), slice(8, 64), slice(64, 129)]
    alm = BaseMeasure(2).harmonics("harmonics", 1, ell_max)[0] * (10.0 + ell) ** -0.6
    kappa = harmonics.synthesise(alm, nside, ell_max)
    shear = lensing.shear(kappa[None], ell_max, np.arange(kappa.size))[0]
    found = harmonics.analyse(shear, ell_max, spin=2)[0]
    wanted = harmonics.shear_factor(ell_max)[ell] * alm
    power = [harmonics.cross_spectrum(one, one, ell_max) for one in (found, wanted)]
    for part in band:
        assert power[0][part].sum() == pytest.approx(power[1][part].sum(), rel=5e-4)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_convergence_is_a_matrix_product_made_in_blocks(monkeypatch, kind):
    monkeypatch.setattr(lensing, "BLOCK", 100)
    rng = np.random.default_rng(1)
    delta, response = rng.normal(0, 3, size=(5, 768)).astype(kind), rng.random((3, 5))
    found = lensing.convergence(list(delta), response)
    assert found.dtype == (np.float64 if kind == np.float64 else np.float32)
    np.testing.assert_allclose(found, response @ delta, atol=1e-5)
    whole = lensing.convergence(delta, response)
    assert whole.dtype == found.dtype
    np.testing.assert_allclose(whole, found, atol=1e-5)
    with pytest.raises(DataError, match="192, 768"):
        lensing.convergence([delta[0], delta[0, :192]], response[:, :2])


def test_sims_of_one_cosmology_and_of_another_get_their_own_response(world):
    other = make_geometry(PARAMETERS | {"Omega_m": 0.2}, SHELLS)
    geometries = [world.geometry, world.geometry, other, world.geometry]

    class Constant:
        def density_shells(self, cosmology, draw):
            yield from np.ones((SHELLS.n_shells, 1)) * BaseMeasure(0).rng("mesh").normal(
                size=12 * NSIDE**2
            )

    sky = SimpleNamespace(shells=SHELLS, ell_max=ELL_MAX)
    sims = [Sim(i, 7, lambda g=g: g, None) for i, g in enumerate(geometries)]
    made = simulate_chunk(sims, Constant(), world.survey, sky, n_convergence=4)
    kappa = made["convergence"]
    np.testing.assert_array_equal(kappa[0], kappa[1])
    np.testing.assert_array_equal(kappa[0], kappa[3])
    assert np.abs(kappa[2] - kappa[0]).max() > 0.01 * np.abs(kappa[0]).max()
    assert made["maps"].shape == (4, 3, 2, world.survey.pixel.size)


def test_shear_of_clustered_sources_is_the_mean_over_a_catalogue(world):
    """Galaxies drawn shell by shell, each with the shear of its own shell; bins 0.2 % precise."""
    rng, bias, ell_max = np.random.default_rng(3), 1.4, NSIDE
    delta = rng.normal(0, 0.3, size=(SHELLS.n_shells, 12 * NSIDE**2))
    pixel = np.arange(0, 12 * NSIDE**2, 37)
    shear, density = lensing.clustered_shear(delta, world.planes, bias, ell_max, pixel)
    each = np.stack(
        [lensing.shear((row @ delta)[None], ell_max, pixel)[0] for row in world.planes.convergence]
    )
    for b, share in enumerate(world.planes.shares):
        mean = 1e7 * share[:, None] * np.clip(1 + bias * delta[:, pixel], 0, None)
        galaxies = rng.poisson(mean)
        number = galaxies.sum(axis=0)
        np.testing.assert_allclose(number / 1e7, density[b], atol=5e-3)
        catalogue = np.einsum("ip,icp->cp", galaxies / number, each)
        np.testing.assert_allclose(shear[b], catalogue, atol=5e-3 * each.std())
    # without clustering it is the shear of the bin's n(z)
    plain = lensing.shear(world.planes.response @ delta, ell_max, pixel)
    unbiased, uniform = lensing.clustered_shear(delta, world.planes, 0.0, ell_max, pixel)
    np.testing.assert_allclose(unbiased, plain, atol=1e-10)
    np.testing.assert_allclose(uniform, 1)
    assert np.abs(shear - plain).std() > 0.05 * plain.std()
