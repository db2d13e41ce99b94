"""Lensing of shells against GLASS's own recurrence and healpy's transforms."""

from types import SimpleNamespace

import glass
import healpy
import numpy as np
import pytest

from cosmologies import simple_cosmology
from mflens.errors import DataError
from mflens.simulate import harmonics
from mflens.simulate.chunk import Sim, simulate_chunk
from mflens.simulate.randomness import BaseMeasure
from mflens.simulate.survey import lensing
from mflens.simulate.survey.line_of_sight import line_of_sight
from mflens.simulate.survey.survey import make_survey
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
    cosmology = simple_cosmology(PARAMETERS, SHELLS, ELL_MAX)
    survey = make_survey(SURVEY, NSIDE)
    sight = line_of_sight(SHELLS, cosmology)
    planes = survey.source_planes(sight, cosmology.background, PARAMETERS)
    return SimpleNamespace(cosmology=cosmology, survey=survey, planes=planes)


def test_nothing_behind_a_source_lenses_it(world):
    matrix = world.planes.convergence
    assert np.all(np.triu(matrix, 1) == 0)
    # in the sources' own shell, what is before some of them
    assert np.all(matrix[np.tril_indices(SHELLS.n_shells)] > 0)
    np.testing.assert_allclose(world.planes.shares.sum(axis=1), 1)


@pytest.mark.parametrize("longitude", [0.0, 40.0, 200.0])
@pytest.mark.parametrize("latitude", [30.0, -25.0])
def test_shear_around_a_peak_is_tangential_in_healpix_axes(longitude, latitude):
    """A round peak of kappa stretches images along circles around it.

    In COSMO axes (x South, y East) that is gamma_1 < 0 south and north of it, gamma_1 > 0 east and
    west, and between South and East, at 45 degrees from x to y, gamma_2 < 0.
    """
    nside, ell_max, distance = 64, 128, 6.0
    centre = healpy.ang2vec(longitude, latitude, lonlat=True)
    apart = np.arccos(np.stack(healpy.pix2vec(nside, np.arange(12 * nside**2)), axis=1) @ centre)
    kappa = np.exp(-0.5 * (np.degrees(apart) / 2.0) ** 2)[None]
    stretch = distance / np.cos(np.radians(latitude))

    def at(lon, lat):
        pixel = np.array([healpy.ang2pix(nside, lon, lat, lonlat=True)])
        return lensing.shear(kappa, ell_max, pixel)[0, :, 0]

    # mean kappa inside 6 degrees, that at 6 degrees being small: 2 sd^2 / distance^2
    wanted = 2 * 2.0**2 / distance**2
    diagonal = distance / np.sqrt(2)
    for lon, lat, component, sign in (
        (longitude, latitude - distance, 0, -1),
        (longitude, latitude + distance, 0, -1),
        (longitude + stretch, latitude, 0, 1),
        (longitude - stretch, latitude, 0, 1),
        (longitude + stretch / np.sqrt(2), latitude - diagonal, 1, -1),
        (longitude - stretch / np.sqrt(2), latitude - diagonal, 1, 1),
    ):
        gamma = at(lon, lat)
        assert gamma[component] == pytest.approx(sign * wanted, rel=0.2)
        assert abs(gamma[1 - component]) < 0.25 * wanted


def test_shear_equals_healpys_spin_2_transform_of_the_convergence(world):
    """E_lm = sqrt((l+2)(l-1)/(l(l+1))) kappa_lm and healpy's own axes; no function of mflens."""
    ell_max, pixel = ELL_MAX, world.survey.pixel_ring
    alm = BaseMeasure(5).harmonics("harmonics", 1, ell_max)[0]
    kappa = healpy.alm2map(alm, NSIDE, lmax=ell_max)
    ell = np.arange(ell_max + 1.0)
    factor = np.zeros(ell_max + 1)
    factor[2:] = np.sqrt((ell[2:] + 2) * (ell[2:] - 1) / (ell[2:] * (ell[2:] + 1)))
    e_modes = healpy.almxfl(alm, factor)
    wanted = np.stack(healpy.alm2map_spin([e_modes, 0 * alm], NSIDE, 2, ell_max))[:, pixel]
    found = lensing.shear(kappa[None], ell_max, pixel)[0]
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.015 * wanted.std()
    back = lensing.convergence_of(
        np.stack(healpy.alm2map_spin([e_modes, 0 * alm], NSIDE, 2, ell_max))[None], NSIDE, ell_max
    )
    alm[[0, 1, ell_max + 1]] = 0
    np.testing.assert_allclose(
        back[0], healpy.alm2map(alm, NSIDE, lmax=ell_max), atol=1e-3 * kappa.std()
    )


def test_shear_is_the_negative_of_glass_shear_whose_axes_are_east_and_north(world):
    alm = BaseMeasure(1).harmonics("harmonics", 3, ELL_MAX)
    alm *= 0.01 / (1 + np.arange(alm.shape[1]) % 7)
    kappa = np.stack([healpy.alm2map(one, NSIDE, lmax=ELL_MAX) for one in alm])
    pixel = world.survey.pixel_ring
    ours = lensing.shear(kappa, ELL_MAX, pixel)
    for b in range(3):
        theirs = glass.from_convergence(kappa[b], ELL_MAX, shear=True, discretized=False)[0]
        expected = -np.stack([theirs.real, theirs.imag])[:, pixel]
        error, scale = ours[b] - expected, expected.std()
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
    other = simple_cosmology(PARAMETERS | {"Omega_m": 0.2}, SHELLS, ELL_MAX)
    cosmologies = [world.cosmology, world.cosmology, other, world.cosmology]

    class Constant:
        def density_shells(self, cosmology, draw):
            yield from np.ones((SHELLS.n_shells, 1)) * BaseMeasure(0).rng("mesh").normal(
                size=12 * NSIDE**2
            )

    sky = SimpleNamespace(shells=SHELLS, ell_max=ELL_MAX)
    sims = [Sim(i, 7, lambda g=g: g, None) for i, g in enumerate(cosmologies)]
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
    plain = lensing.shear(world.planes.response @ delta, ell_max, pixel)
    for b, share in enumerate(world.planes.shares):
        mean = 1e7 * share[:, None] * np.clip(1 + bias * delta[:, pixel], 0, None)
        galaxies = rng.poisson(mean)
        number = galaxies.sum(axis=0)
        np.testing.assert_allclose(number / 1e7, density[b], atol=5e-3)
        catalogue = np.einsum("ip,icp->cp", galaxies / number, each)
        # the bin's own places inside the shells, the same for all its galaxies
        catalogue += plain[b] - np.einsum("i,icp->cp", share, each)
        np.testing.assert_allclose(shear[b], catalogue, atol=5e-3 * each.std())
    # without clustering it is the shear of the bin's n(z)
    unbiased, uniform = lensing.clustered_shear(delta, world.planes, 0.0, ell_max, pixel)
    np.testing.assert_allclose(unbiased, plain, atol=1e-10)
    np.testing.assert_allclose(uniform, 1)
    assert np.abs(shear - plain).std() > 0.05 * plain.std()
