"""The simulations against theory, against GLASS itself and against linear growth."""

from dataclasses import replace

import glass
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mflens.compress.bandpowers import average_bands
from mflens.simulate import chunk, harmonics
from mflens.simulate.chunk import Matching, Sim, make_draw
from mflens.simulate.mesh import engine
from mflens.simulate.mesh.baryons import amplitudes
from mflens.simulate.mesh.lightcone import LightCone, Mesh, Observer, assignment_window
from mflens.simulate.mesh.matching import linear_covariance, linear_density, matched_harmonics
from mflens.simulate.mesh.particles import TSC, Particles
from mflens.simulate.randomness import BaseMeasure
from mflens.simulate.tiers import Draw, make_tier
from mflens.theory.kernels import Shells
from mflens.theory.spectra import interpolate_log, mesh_wavenumbers

ELL_MAX = 128
OPTIONS = {
    "lognormal": {"shift": 1.0, "n_correlated": 3},
    "lpt": {"order": 2},
    "particle_mesh": {"z_start": 9.0, "max_step_ln_a": 0.15},
}
BANDS = [2, 8, 16, 32, 64, 100, 129]
N_WHITE, N_MANY = 100, 600


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
    theory = world.response @ world.cosmology.spectra @ world.response.T
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


# at 128^3 in 1000 Mpc/h the cells are smaller than the pixels at the lensing peak
@pytest.mark.accuracy
@pytest.mark.parametrize(
    ("n_mesh", "wanted", "wanted_of_lpt"),
    [(64, [0.97, 0.97, 0.91, 0.78], 0.98), (128, [0.97, 0.97, 0.93, 0.85], 0.99)],
)
def test_pairs_reach_the_wanted_correlation(world, n_mesh, wanted, wanted_of_lpt):
    mesh, cosmology, n_pairs = Mesh(n_mesh, 1000.0, 128), world.cosmology, 8
    sky = replace(world.sky, mesh=mesh)
    lightcone = LightCone(world.shells, mesh, ELL_MAX)
    linear = interpolate_log(cosmology.k, cosmology.linear, world.k)
    covariance, fill = linear_covariance(
        world.kernels, world.k, cosmology.shell_growth, linear, world.shells, mesh
    )
    matching = Matching(covariance, fill, np.ones((world.shells.n_shells, ELL_MAX + 1)))

    def convergence(tier, draw):
        shells = make_tier(tier, OPTIONS[tier], sky).density_shells(cosmology, draw)
        alm = np.stack([harmonics.analyse(one, ELL_MAX) for one in shells])
        return world.response @ alm

    def correlate(one, other):
        return band_powers(one, other) / np.sqrt(band_powers(one) * band_powers(other))

    rows = []
    for seed in range(n_pairs):
        sim = Sim(seed, seed, lambda: cosmology, matching)
        draw = make_draw(sim, cosmology, sky, lightcone)
        low, middle, high = (convergence(tier, draw) for tier in OPTIONS)
        rows.append([correlate(low, high), correlate(low, middle), correlate(middle, high)])
    pairs, cheap, lpt = np.mean(rows, axis=0)
    for name, found in (("N-body", pairs), ("LPT", cheap), ("LPT, N-body", lpt)):
        for sources, bands in zip(("z < 0.7", "z > 0.7"), found, strict=True):
            print(f"| {n_mesh} | {name} | {sources} |", *(f"{r:.3f} |" for r in bands))
    assert np.all(pairs.min(axis=0)[1:5] > wanted)
    assert np.all(lpt[:, 1:5] > wanted_of_lpt)


@pytest.mark.slow
def test_lpt_is_closer_to_particle_mesh_than_lognormal(convergence_of):
    power = {}
    for tier in ("lognormal", "lpt"):
        a, b = convergence_of(tier, 0), convergence_of("particle_mesh", 0)
        power[tier] = band_powers(a, b) / np.sqrt(band_powers(a) * band_powers(b))
    assert np.all(power["lpt"] > power["lognormal"])
    assert np.all(power["lpt"][:, 1:4] > 0.99)


@pytest.fixture(scope="module")
def whitened(world, variance):
    """Return a function of a seed that the calibration has not seen: whitened coefficients."""

    def make(seed):
        base, cosmology = BaseMeasure(seed), world.cosmology
        return matched_harmonics(
            base, world.lightcone,
            linear_density(base, world.mesh, cosmology.k, cosmology.linear),
            world.colour, cosmology.shell_growth, world.covariance, world.fill, variance,
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def white(whitened):
    return [whitened(seed) for seed in range(N_WHITE)]


@pytest.mark.slow
def test_whitened_coefficients_have_unit_variance(world, white):
    spectra = np.array([band_powers(one) for one in white])
    # a hundred values, 17 shells x 6 bands
    error = spectra.std(axis=0) / np.sqrt(N_WHITE)
    assert np.all(np.abs(spectra.mean(axis=0) - 1) < 0.02 + 3 * error)


@pytest.mark.accuracy
def test_every_shell_and_band_of_many_draws_has_unit_variance(whitened):
    spectra = np.array([band_powers(whitened(seed)) for seed in range(N_WHITE, N_WHITE + N_MANY)])
    mean, error = spectra.mean(axis=0), spectra.std(axis=0) / np.sqrt(N_MANY)
    for shell, rows in enumerate(zip(mean, error, strict=True)):
        print(f"| {shell} |", *(f"{v:.3f} +- {e:.3f} |" for v, e in zip(*rows, strict=True)))
    assert np.all(np.abs(mean - 1) < 0.02 + 2 * error)


@pytest.mark.slow
def test_whitened_shells_are_uncorrelated(white):
    found = np.array([band_powers(one[:, None], one[None]) for one in white])
    i, j = np.triu_indices(found.shape[1], 1)
    error = found[:, i, j].std(axis=0) / np.sqrt(N_WHITE)
    assert np.all(np.abs(found[:, i, j].mean(axis=0)) < 0.02 + 4 * error)


@pytest.mark.slow
def test_whitened_coefficients_are_gaussian(white):
    ell, m = harmonics.degrees(ELL_MAX), np.repeat(np.arange(129), np.arange(129, 0, -1))
    rng = np.random.default_rng(0)
    for low, high in zip(BANDS[:-1], BANDS[1:], strict=True):
        chosen = (ell >= low) & (ell < high) & (m > 0)
        values = np.sqrt(2) * np.concatenate([one[:, chosen].real.ravel() for one in white])
        # a few thousand, as tests of more see the 2 per cent that the variance is allowed
        p = stats.kstest(rng.choice(values, 4000, replace=False), "norm").pvalue
        assert p > 1e-3, (low, high)


@pytest.mark.slow
def test_lognormal_maps_of_matched_phases_are_those_of_the_bulk(world, white):
    """Power, its scatter, skewness and kurtosis of the convergence."""
    tier = world.tiers["lognormal"]

    def measure(one):
        draw = Draw(None, lambda: None, lambda _: one)
        kappa = world.response @ np.stack(list(tier.density_shells(world.cosmology, draw)))
        power = band_powers(np.stack([harmonics.analyse(one, ELL_MAX) for one in kappa]))
        moments = stats.skew(kappa, axis=1), stats.kurtosis(kappa, axis=1)
        # larger scales scatter more as the box repeats its few modes along the line of sight
        return np.column_stack([power[:, 3:], *moments])

    n = N_WHITE // 2
    bulk = [BaseMeasure(5000 + i).harmonics("harmonics", 17, ELL_MAX) for i in range(n)]
    matched, fresh = (np.array([measure(one) for one in some]) for some in (white[:n], bulk))
    ratio = matched.mean(axis=0) / fresh.mean(axis=0)
    error = np.sqrt((matched.var(axis=0) + fresh.var(axis=0)) / n) / fresh.mean(axis=0)
    tolerance = np.array([0.02, 0.02, 0.02, 0.03, 0.06])
    assert np.all(np.abs(ratio - 1) < tolerance + 3 * error)
    # the scatter of a band's power would tell of coupled modes
    scatter = (matched.std(axis=0) / fresh.std(axis=0))[:, :3]
    assert np.all(np.abs(scatter - 1) < 4 / np.sqrt(n))


def evolve(world, z, seed=3, **options):
    """Return the linear density today and the particles at redshift z."""
    options = {"z_start": 9.0, "max_step_ln_a": 0.15} | options
    base = BaseMeasure(seed)
    linear = linear_density(base, world.mesh, world.cosmology.k, world.cosmology.linear)
    particles = Particles(world.cosmology, linear, world.mesh.box_mpc_h)
    ln_start = -np.log1p(options["z_start"])
    n_steps = int(np.ceil((-np.log1p(z) - ln_start) / options["max_step_ln_a"]))
    state = particles.start(np.exp(ln_start))
    for ln_a in np.linspace(ln_start, -np.log1p(z), n_steps + 1)[1:]:
        particles.step(state, np.exp(ln_a))
    return linear, state


@pytest.mark.slow
@pytest.mark.parametrize("z", [0.0, 1.0])
def test_particle_mesh_follows_linear_growth(world, z):
    linear, state = evolve(world, z)
    n = world.mesh.n_mesh
    # cells are centred half a cell beyond the mesh points
    shift = np.exp(-1j * np.pi * np.fft.fftfreq(n))
    density = state.density * shift[:, None, None] * shift[:, None] * shift[: n // 2 + 1]
    density[..., -1] = 0
    window = assignment_window(n, TSC)
    density /= window[:, None, None] * window[:, None] * window[: n // 2 + 1]
    large = mesh_wavenumbers(n, world.mesh.box_mpc_h) < 0.05
    large[0, 0, 0] = False
    # the same modes in both, so that cosmic variance cancels
    amplitude = (density * linear.conj()).real[large].sum() / (np.abs(linear) ** 2)[large].sum()
    assert amplitude == pytest.approx(world.cosmology.growth.at("first", 1 / (1 + z)), rel=0.02)


def test_steps_are_those_of_pysco(world):
    """PySCo's own leapfrog and forces, from the same start."""
    from scipy.interpolate import interp1d

    base, box = BaseMeasure(3), world.mesh.box_mpc_h
    linear = linear_density(base, world.mesh, world.cosmology.k, world.cosmology.linear)
    particles = Particles(world.cosmology, linear, box)
    integration, solver = engine.load("integration"), engine.load("solver")
    growth, times = particles.growth, np.exp(np.linspace(np.log(0.1), 0, 9))
    param = pd.Series(
        {
            "theory": "newton", "H0": 70.0, "Om_m": particles.Omega_m, "boxlen": box,
            "npart": particles.n**3, "ncoarse": int(np.log2(particles.n)), "mass_scheme": "TSC",
            "nthreads": 1, "linear_newton_solver": "fft", "gradient_stencil_order": 7,
            "save_power_spectrum": "no", "write_snapshot": False,
        }
    )  # fmt: skip
    clock = [interp1d(growth.time, growth.ln_a, fill_value="extrapolate")]
    empty = np.empty(0, dtype=np.float32)

    def set_time(a):
        param["aexp"], param["t"] = a, float(growth.at("time", a))

    state = particles.start(times[0])
    set_time(times[0])
    theirs = [*particles.displace(times[0])]
    theirs.append(solver.pm(theirs[0], param)[0])
    for a in times[1:]:
        particles.step(state, a)
        duration = np.float32(growth.at("time", a) - param["t"])
        theirs = integration.leapfrog(*theirs, empty, empty, duration, clock, param)[:3]
        set_time(a)
    apart = state.position - theirs[0]
    apart -= np.round(apart)
    # in cells: rounding
    assert np.abs(apart).max() * particles.n < 1e-3
    np.testing.assert_allclose(state.velocity, theirs[1], atol=1e-4 * np.abs(theirs[1]).max())


def without_nyquist(density):
    n = density.shape[0]
    density[n // 2], density[:, n // 2], density[..., n // 2] = 0, 0, 0
    return density


def test_mocks_of_one_run_evolve_it_once_and_see_it_from_elsewhere(world, monkeypatch):
    n, start, started = 16, Particles.start, []
    sky = replace(world.sky, nside=8, ell_max=16, mesh=Mesh(n, 1000.0, 16))
    # a symmetry of the mesh, so that the run can be repeated from initial conditions moved so
    turn, cells = np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]), np.array([3, 0, 5])
    monkeypatch.setattr(chunk, "place_observer", lambda _: Observer(cells / n, turn))
    # gradients at the Nyquist wavenumber depend on the axis
    monkeypatch.setattr(chunk, "linear_density", lambda *a: without_nyquist(linear_density(*a)))
    monkeypatch.setattr(Particles, "start", lambda *a: started.append(1) or start(*a))
    tier = make_tier("particle_mesh", OPTIONS["particle_mesh"], sky)

    def shells(draw):
        return np.stack(list(tier.density_shells(world.cosmology, draw)))

    sims = [Sim(i, i, lambda: world.cosmology, None, run=(0, 1)) for i in range(2)]
    found = [shells(draw) for _, _, draw in chunk.make_draws(sims, sky, None)]
    assert len(started) == 1
    alone = make_draw(Sim(0, 0, lambda: world.cosmology, None), world.cosmology, sky, None)
    np.testing.assert_array_equal(found[0], shells(alone))
    at = (cells + np.indices((n, n, n)).reshape(3, -1).T @ turn.T.astype(int)) % n
    moved = np.fft.rfftn(np.fft.irfftn(alone.linear_density)[tuple(at.T)].reshape(n, n, n))
    expected = shells(Draw(alone.base, lambda: moved.astype(np.complex64), None))
    np.testing.assert_allclose(found[1], expected, atol=2e-3 * expected.std())


@pytest.mark.slow
def test_mocks_of_one_run_have_matched_partners_of_their_own(world, variance):
    matching = Matching(world.covariance, world.fill, variance)
    sims = [Sim(i, i, lambda: world.cosmology, matching, run=(40, 41, 42)) for i in (40, 41, 42)]
    low, high = [], []
    for _, _, draw in chunk.make_draws(sims, world.sky, world.lightcone):
        for tier, alm in (("lognormal", low), ("particle_mesh", high)):
            shells = world.tiers[tier].density_shells(world.cosmology, draw)
            kappa = world.response @ np.stack(list(shells))
            alm.append(np.stack([harmonics.analyse(one, ELL_MAX) for one in kappa]))
    low, high = np.array(low), np.array(high)
    for shift in range(3):
        partner = np.roll(low, shift, axis=0)
        r = band_powers(partner, high) / np.sqrt(band_powers(partner) * band_powers(high))
        if shift == 0:
            assert np.all(r[..., 1:3] > 0.9)
        else:
            # 192 and more modes
            assert np.all(np.abs(r[..., 1:]) < 0.3)


def test_feedback_takes_the_root_of_the_response_from_every_mode():
    shells, k = Shells(3, 100.0), np.geomspace(1e-3, 3.0, 400)
    # a power law through Limber's k = (l + 1/2) / chi, averaged over chi^2 dchi
    found = amplitudes(np.tile(k**-0.2, (3, 1)), k, shells, 20)
    ell, (low, high) = 15, shells.edges[1:3]
    mean = 3 / 3.2 * (high**3.2 - low**3.2) / (high**3 - low**3)
    assert found[1, ell] == pytest.approx(np.sqrt((ell + 0.5) ** -0.2 * mean), rel=1e-3)
    np.testing.assert_allclose(amplitudes(np.ones((3, 400)), k, shells, 20), 1)


def test_two_seeds_differ_and_one_seed_repeats(world):
    def first_shell(seed):
        base = BaseMeasure(seed)
        draw = Draw(base, lambda: None, lambda _: base.harmonics("harmonics", 17, ELL_MAX))
        return world.tiers["lognormal"].density_shells(world.cosmology, draw)[0]

    assert not np.array_equal(first_shell(1), first_shell(2))
    np.testing.assert_array_equal(first_shell(1), first_shell(1))
