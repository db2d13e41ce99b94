"""The simulations against theory, against GLASS itself and against linear growth."""

import glass
import numpy as np
import pytest

from mflens.simulate import harmonics
from mflens.simulate.bandpowers import average_bands
from mflens.simulate.lensing import convergence_spectra
from mflens.simulate.matching import linear_density, matched_harmonics
from mflens.simulate.particles import Particles, mesh_density
from mflens.simulate.randomness import BaseMeasure
from mflens.simulate.tiers import Draw
from mflens.theory.spectra import mesh_wavenumbers

ELL_MAX = 128
BANDS = [2, 8, 16, 32, 64, 100, 129]


def band_powers(alm, other=None):
    other = alm if other is None else other
    return average_bands(harmonics.cross_spectrum(alm, other, ELL_MAX), BANDS)


@pytest.mark.slow
def test_the_tier_has_the_statistics_of_glass_own_generator(world):
    tier, n_sims = world.tiers["lognormal"], 24
    shift = tier.shifts(world.cosmology.shell_growth.z)
    spectra = tier.gaussian_spectra(world.cosmology, shift, 3)
    fields = [glass.grf.Lognormal(one) for one in shift]

    def measure(maps):
        return [band_powers(harmonics.analyse(one, ELL_MAX)) for one in maps]

    ours, theirs = [], []
    for seed in range(n_sims):
        fresh = BaseMeasure(seed).harmonics("harmonics", world.shells.n_shells, ELL_MAX)
        draw = Draw(BaseMeasure(seed), lambda: None, lambda _, fresh=fresh: fresh)
        ours.append(measure(tier.density_shells(world.cosmology, draw)))
        rng = np.random.default_rng(seed + 77)
        theirs.append(measure(glass.generate(fields, spectra, world.sky.nside, ncorr=3, rng=rng)))
    ours, theirs = np.array(ours), np.array(theirs)
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / n_sims)
    pull = (ours.mean(axis=0) - theirs.mean(axis=0)) / error
    # 17 shells x 6 bands of unit normals
    assert np.abs(pull).max() < 4.5
    assert abs(pull.std() - 1) < 0.35


@pytest.mark.slow
def test_mean_shear_spectra_follow_theory(world, convergence_of):
    theory = convergence_spectra(world.cosmology.spectra, world.response)
    factor = harmonics.shear_factor(ELL_MAX)
    shear = np.array(
        [
            band_powers(
                convergence_of("lognormal", seed, False) * factor[harmonics.degrees(ELL_MAX)]
            )
            for seed in range(48)
        ]
    )
    expected = average_bands(
        np.stack([theory[:, b, b] * factor**2 for b in range(theory.shape[1])]), BANDS
    )
    error = shear.std(axis=0) / np.sqrt(len(shear))
    assert np.all(np.abs(shear.mean(axis=0) - expected) < 3 * error)


@pytest.mark.slow
def test_pairs_share_phases_and_strangers_do_not(convergence_of):
    seeds = range(8)
    low = [convergence_of("lognormal", seed) for seed in seeds]
    high = [convergence_of("particle_mesh", seed) for seed in seeds]
    norm = [np.sqrt(band_powers(a) * band_powers(b)) for a, b in zip(low, high, strict=True)]
    matched = np.mean([band_powers(a, b) / n for a, b, n in zip(low, high, norm, strict=True)], 0)
    strangers = np.mean(
        [
            band_powers(a, b) / np.sqrt(band_powers(a) * band_powers(b))
            for a, b in zip(low, high[1:] + high[:1], strict=True)
        ],
        axis=0,
    )
    highest = matched[-1]
    assert np.all(highest[[1, 2]] > 0.95)
    assert highest[3] > 0.85
    assert np.all(np.abs(strangers[-1][1:]) < 0.1)


@pytest.mark.slow
def test_lpt_is_closer_to_particle_mesh_than_lognormal(convergence_of):
    power = {}
    for tier in ("lognormal", "lpt"):
        a, b = convergence_of(tier, 0), convergence_of("particle_mesh", 0)
        power[tier] = band_powers(a, b) / np.sqrt(band_powers(a) * band_powers(b))
    assert np.all(power["lpt"] > power["lognormal"])
    assert np.all(power["lpt"][:, 1:4] > 0.99)


@pytest.mark.slow
def test_whitened_coefficients_have_unit_variance(world, variance):
    spectra = []
    for seed in range(32):
        base = BaseMeasure(seed)
        density = linear_density(base, world.mesh, world.cosmology.k, world.cosmology.linear)
        white = matched_harmonics(
            base, world.lightcone, density, world.cosmology.shell_growth, world.covariance,
            world.fill, variance,
        )  # fmt: skip
        spectra.append(band_powers(white))
    mean = np.mean(spectra, axis=0)
    error = np.std(spectra, axis=0) / np.sqrt(len(spectra))
    # 5 per cent beyond the scatter of 32 draws
    assert np.all(np.abs(mean - 1) < 0.05 + 2.5 * error)
    assert np.all(np.abs(mean[:, 3:] - 1) < 0.06)


@pytest.mark.slow
@pytest.mark.parametrize("z", [0.0, 1.0])
def test_particle_mesh_follows_linear_growth(world, z):
    base = BaseMeasure(3)
    linear = linear_density(base, world.mesh, world.cosmology.k, world.cosmology.linear)
    particles = Particles(world.cosmology, linear, world.mesh.box_mpc_h)
    n_steps = int(np.ceil(np.log(10 / (1 + z)) / 0.15))
    state = particles.start(0.1)
    for ln_a in np.linspace(np.log(0.1), -np.log1p(z), n_steps + 1)[1:]:
        state = particles.step(state, np.exp(ln_a))
    density = mesh_density(state[0], world.mesh.n_mesh) / world.lightcone.window(3)
    large = mesh_wavenumbers(world.mesh.n_mesh, world.mesh.box_mpc_h) < 0.05
    large[0, 0, 0] = False
    # the same modes in both, so that cosmic variance cancels
    amplitude = (density * linear.conj()).real[large].sum() / (np.abs(linear) ** 2)[large].sum()
    assert amplitude == pytest.approx(world.cosmology.growth.at("first", 1 / (1 + z)), rel=0.02)


def test_two_seeds_differ_and_one_seed_repeats(world):
    def first_shell(seed):
        base = BaseMeasure(seed)
        draw = Draw(base, lambda: None, lambda _: base.harmonics("harmonics", 17, ELL_MAX))
        return next(world.tiers["lognormal"].density_shells(world.cosmology, draw))

    assert not np.array_equal(first_shell(1), first_shell(2))
    np.testing.assert_array_equal(first_shell(1), first_shell(1))
