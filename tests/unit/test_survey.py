"""Sources, nuisances, intrinsic alignment, noise and footprint."""

from types import SimpleNamespace

import healpy
import numpy as np
import pytest
from glass.galaxies import _kappa_ia_nla
from scipy import stats

from configs import merge, read_config
from cosmologies import simple_cosmology
from mflens.design.draw import draw_design
from mflens.errors import ConfigError
from mflens.prior import Prior
from mflens.run.check import check_config
from mflens.run.plan import inferred
from mflens.simulate.chunk import Sim, simulate_chunk
from mflens.simulate.mesh.lightcone import Mesh
from mflens.simulate.randomness import BaseMeasure
from mflens.simulate.survey.counts import poisson_quantile
from mflens.simulate.survey.footprint import observed_fraction
from mflens.simulate.survey.line_of_sight import line_of_sight, source_shares
from mflens.simulate.survey.redshifts import move_distribution, source_distributions
from mflens.simulate.survey.survey import Survey, intrinsic, make_survey
from mflens.simulate.tiers import Sky
from mflens.theory.growth import growth_of
from mflens.theory.kernels import Shells

SMAIL = {
    "kind": "smail", "z_0": 0.64, "alpha": 2.0, "beta": 1.5, "sigma_z": 0.05, "z_max": 1.5,
    "edges": [0.0, 0.7, 1.5],
}  # fmt: skip
FILE = {"kind": "file", "z_max": 3.0, "z_column": "middle", "extension": "NZ_SOURCE"}
OPTIONS = {
    "redshifts": SMAIL, "n_gal_arcmin2": [5.0, 10.0], "sigma_e": 0.26, "noise": "gaussian",
    "source_bias": 0.0, "mask": "octant", "min_coverage": 0.5, "nuisances": {},
}  # fmt: skip
PARAMETERS = {
    "Omega_m": 0.3, "sigma_8": 0.8, "h": 0.7, "n_s": 0.96, "Omega_b": 0.046, "m_nu": 0.0
}  # fmt: skip
ARCMIN2 = healpy.nside2pixarea(16, degrees=True) * 3600


@pytest.fixture(scope="module")
def sky():
    """One cosmology and its line of sight."""
    shells = Shells(18, 200.0)
    cosmology = simple_cosmology(PARAMETERS, shells, 32)
    sight = line_of_sight(shells, cosmology)
    return SimpleNamespace(shells=shells, cosmology=cosmology, sight=sight)


def survey(nside=16, **options):
    return make_survey(OPTIONS | options, nside)


class TestSources:
    def test_smail_and_a_table_of_it(self, tmp_path):
        z, bins = source_distributions(SMAIL)
        np.testing.assert_allclose(np.trapezoid(bins, z, axis=1), 1)
        assert (z * bins).sum(axis=1)[0] < (z * bins).sum(axis=1)[1]
        np.savetxt(tmp_path / "nz.txt", np.column_stack([z, 3 * bins.T]))
        z_file, bins_file = source_distributions({**FILE, "path": str(tmp_path / "nz.txt")})
        np.testing.assert_allclose(bins_file, bins, rtol=1e-9)
        with pytest.raises(ConfigError, match="no sources"):
            source_distributions({**SMAIL, "edges": [0.0, 0.7, 8.0, 9.0]})
        assert z_file.size == z.size

    def test_gaussians(self):
        options = {"kind": "gaussian", "mean": [0.5, 0.9], "sd": [0.05, 0.1], "z_max": 1.5}
        z, bins = source_distributions(options)
        mean = np.trapezoid(z * bins, z, axis=1)
        np.testing.assert_allclose(mean, [0.5, 0.9], rtol=1e-6)
        sd = np.sqrt(np.trapezoid((z - mean[:, None]) ** 2 * bins, z, axis=1))
        np.testing.assert_allclose(sd, [0.05, 0.1], rtol=1e-4)


class TestNuisances:
    @pytest.mark.parametrize(("shift", "stretch"), [(0.02, 1.0), (-0.03, 1.0), (0.01, 1.3)])
    def test_shift_moves_the_mean_and_stretch_the_width(self, shift, stretch):
        z = np.arange(0, 2, 0.05)
        n = stats.norm.pdf(z, 0.9, 0.15)
        n /= np.trapezoid(n, z)
        moved, m = move_distribution(z, n, shift, stretch)

        def moments(x, p):
            mean = np.trapezoid(x * p, x)
            return mean, np.sqrt(np.trapezoid((x - mean) ** 2 * p, x))

        (mean, sd), (new_mean, new_sd) = moments(z, n), moments(moved, m)
        assert np.trapezoid(m, moved) == pytest.approx(1)
        assert new_mean - mean == pytest.approx(shift, abs=2e-5)  # what falls below z = 0
        assert new_sd == pytest.approx(stretch * sd, rel=1e-3)

    def test_shares_without_nuisances_are_those_of_all_bins_at_once(self, sky):
        made = survey()
        together = source_shares(made.z, made.n_of_z, sky.sight)
        np.testing.assert_array_equal(made.source_shares(sky.sight), together)
        still = {"delta_z_1": 0.0, "stretch_2": 1.0}
        np.testing.assert_array_equal(made.source_shares(sky.sight, still), together)

    @pytest.mark.parametrize("shift", [0.03, -0.05])
    def test_response_follows_the_lensing_efficiency_of_the_shifted_sources(self, sky, shift):
        redshifts = {"kind": "gaussian", "mean": [0.5, 0.9], "sd": [0.1, 0.1], "z_max": 1.5}
        made, background = survey(redshifts=redshifts), sky.cosmology.background
        z_source = np.linspace(0.01, 2, 4000)
        chi_source = np.asarray(background.comoving_distance(z_source)) * 0.7
        chi = (sky.shells.edges[1:] + sky.shells.edges[:-1]) / 2
        z = np.interp(chi, chi_source, z_source)

        def closed_form(moved):
            # 3/2 Omega_m (H_0 / c)^2 (1 + z) chi Delta chi integral n(z) (chi_s - chi) / chi_s dz
            n = np.stack([stats.norm.pdf(z_source, mean + moved, 0.1) for mean in (0.5, 0.9)])
            behind = np.maximum(chi_source - chi[:, None], 0) / chi_source
            efficiency = np.trapezoid(n[:, None] * behind, z_source)
            return 1.5 * 0.3 / 2997.92458**2 * (1 + z) * chi * 200 * efficiency

        found, expected = [], []
        for moved in (0.0, shift):
            known = PARAMETERS | {"delta_z_1": moved, "delta_z_2": moved}
            found.append(made.source_planes(sky.sight, background, known).response)
            expected.append(closed_form(moved))
        near = expected[0] > 0.3 * expected[0].max(axis=1, keepdims=True)
        np.testing.assert_allclose(found[0][near], expected[0][near], rtol=0.05)
        change, wanted = (r[1][near] / r[0][near] - 1 for r in (found, expected))
        np.testing.assert_allclose(change, wanted, rtol=0.15, atol=2e-3)

    def test_multiplicative_bias_scales_shear_and_spares_noise(self):
        made = survey()
        shear = np.random.default_rng(0).normal(size=(2, 2, made.pixel.size))
        base = BaseMeasure(1)
        plain = made.observe(shear, base, PARAMETERS)
        np.testing.assert_array_equal(plain, shear + made.noise(base))
        assert made.noise(base).dtype == np.float32
        biased = made.observe(shear, base, PARAMETERS | {"m_1": 0.1, "m_2": -0.05})
        np.testing.assert_allclose(biased[0] - plain[0], 0.1 * shear[0], atol=1e-12)
        np.testing.assert_allclose(biased[1] - plain[1], -0.05 * shear[1], atol=1e-12)
        for kind, wanted in ((np.float64, np.float64), (np.float32, np.float32), (int, np.float64)):
            observed = made.observe(shear.astype(kind), base, PARAMETERS | {"m_1": 0.1})
            assert observed.dtype == wanted
            exact = 1.1 * shear[0].astype(kind).astype(float) + made.noise(base)[0]
            np.testing.assert_allclose(observed[0], exact, atol=1e-6)

    def test_only_inferred_nuisances_join_the_parameters(self):
        flat = {"prior": "uniform", "min": -1, "max": 1}
        nuisances = {"A_IA": flat | {"infer": True}, "m_1": flat | {"infer": False}, "m_2": 0.1}
        seen = inferred({"Omega_m": flat, "h": 0.7}, nuisances)
        assert list(seen) == ["Omega_m", "h", "A_IA"]
        assert Prior(seen).names == ["Omega_m", "A_IA"]
        assert Prior(nuisances).names == ["A_IA", "m_1"]
        assert Prior(nuisances).complete([0.3, 0.2]) == {"A_IA": 0.3, "m_1": 0.2, "m_2": 0.1}
        names = {"A_IA": flat, "eta_IA": flat, "delta_z_3": flat, "stretch_1": flat, "m_2": flat}
        assert Prior(names).latex == [
            r"A_\mathrm{IA}", r"\eta_\mathrm{IA}", r"\Delta z_{3}", "s_{1}", "m_{2}"
        ]  # fmt: skip

    @pytest.mark.parametrize("realisations", [1, 2, 3])
    def test_design_draws_them_for_every_sim_and_keeps_the_cosmologies(self, realisations):
        flat = {"prior": "uniform", "min": 0.0, "max": 1.0}
        cosmology = Prior({"a": flat, "b": flat, "c": 1.0})
        nuisances = Prior({f"m_{i}": flat for i in range(1, 6)} | {"m_6": 0.0})
        sizes = [("bulk", 768, realisations), ("test", 64, 1)]
        alone = draw_design(cosmology, sizes, 5)
        table = draw_design(cosmology, sizes, 5, nuisances)
        assert table[alone.columns].equals(alone)
        assert list(table.columns) == [*alone.columns, *nuisances.names]
        bulk = table.query("split == 'bulk'")
        assert (bulk[nuisances.names].nunique() == 768).all()
        # as even as a Sobol sequence, and not tied to the cosmology
        correlation = bulk[["a", "b", *nuisances.names]].corr().to_numpy() - np.eye(7)
        assert np.abs(correlation).max() < 0.1
        for first in ("a", "b", "m_1"):
            for second in nuisances.names:
                if first != second:
                    counts, _, _ = np.histogram2d(bulk[first], bulk[second], 4, [[0, 1], [0, 1]])
                    assert np.abs(counts - 48).max() < 3 * np.sqrt(48)
        # a larger split keeps its first sims
        more = draw_design(cosmology, [("bulk", 1536, realisations), sizes[1]], 5, nuisances)
        np.testing.assert_array_equal(more.iloc[:768][table.columns], bulk)


class TestIntrinsicAlignment:
    def test_equals_glass(self, sky):
        background, growth = sky.cosmology.background, growth_of(PARAMETERS)
        cosmo = SimpleNamespace(
            h=background.h, critical_density0=background.critical_density0,
            Omega_m0=background.Omega_m0,
            growth_factor=lambda z: growth.at("first", 1 / (1 + z)),
        )  # fmt: skip
        known = PARAMETERS | {"A_IA": 1.7, "eta_IA": -0.8, "z_pivot_IA": 0.62}
        z = sky.sight.z[:, 0]
        found = intrinsic.alignment(z, background, known)[:, None]
        delta = np.random.default_rng(1).normal(size=(18, 50))
        kappa = [
            _kappa_ia_nla(d, one, 1.7, cosmo, z0=0.62, eta=-0.8)
            for d, one in zip(delta, z, strict=True)
        ]
        np.testing.assert_allclose(found * delta, kappa, rtol=1e-10)

    def test_has_the_known_amplitude_and_sign(self, sky):
        # -A C_1 rho_crit Omega_m / D, with C_1 rho_crit = 0.0139
        found = intrinsic.alignment(
            np.array([0.0, 1.0]), sky.cosmology.background, PARAMETERS | {"A_IA": 1.0}
        )
        growth = growth_of(PARAMETERS).at("first", 0.5)
        np.testing.assert_allclose(found, [-0.01388 * 0.3, -0.01388 * 0.3 / growth], rtol=2e-3)

    def test_joins_the_response_only_when_asked(self, sky):
        made = survey()
        plain = made.source_planes(sky.sight, sky.cosmology.background, PARAMETERS)
        known = PARAMETERS | {"A_IA": 1.0}
        aligned = made.source_planes(sky.sight, sky.cosmology.background, known)
        alone = intrinsic.alignment(sky.sight.z, sky.cosmology.background, known)
        wanted = (made.source_shares(sky.sight) * alone).sum(axis=2)
        np.testing.assert_allclose(aligned.response - plain.response, wanted, atol=1e-15)
        assert np.all(alone < 0)


class TestNoise:
    def test_belongs_to_the_draw_and_not_to_the_tier(self):
        z, bins = source_distributions(SMAIL)
        one, other = (
            Survey(z, bins, np.array([5.0, 10.0]), 0.26, pixel, 16)
            # on both sides of the border of a base pixel
            for pixel in (np.arange(200, 300), np.arange(250, 350))
        )
        noise = one.noise(BaseMeasure(9))
        np.testing.assert_array_equal(noise, one.noise(BaseMeasure(9)))
        np.testing.assert_array_equal(noise[:, :, 50:], other.noise(BaseMeasure(9))[:, :, :50])
        np.testing.assert_allclose(noise.std(axis=(1, 2)), one.noise_sd, rtol=0.2)
        whole = Survey(z, bins, np.array([5.0, 10.0]), 0.26, np.arange(12 * 16**2), 16)
        faces = whole.noise(BaseMeasure(9)).reshape(48, 256)
        np.testing.assert_array_equal(faces.reshape(2, 2, -1)[..., 200:300], noise)
        # base pixels, components and bins are independent
        correlation = np.corrcoef(faces) - np.eye(48)
        assert np.abs(correlation).max() < 5 / 16
        # sigma_e / sqrt(galaxies in a pixel)
        np.testing.assert_allclose(one.noise_sd, 0.26 / np.sqrt(np.array([5.0, 10.0]) * ARCMIN2))

    def test_one_dispersion_a_bin(self):
        same, other = survey(), survey(sigma_e=[0.26, 0.52])
        np.testing.assert_allclose(other.noise_sd, same.noise_sd * [1, 2])
        base = BaseMeasure(2)
        np.testing.assert_allclose(other.noise(base)[1], 2 * same.noise(base)[1])

    @pytest.mark.parametrize("mean", [0.0, 0.05, 3.0, 80.0, 1e3, 5e4])
    def test_counts_are_poisson_quantiles(self, mean):
        uniform = np.concatenate([np.random.default_rng(3).random(500), [1e-12, 1 - 1e-12]])
        found = poisson_quantile(uniform, np.full(uniform.size, mean))
        np.testing.assert_array_equal(found, stats.poisson.ppf(uniform, mean))
        assert poisson_quantile(np.zeros(1), np.full(1, mean)) <= found.min()

    def test_poisson_counts_set_the_noise_and_leave_the_shapes(self):
        gaussian, poisson = survey(), survey(noise="poisson")
        base = BaseMeasure(4)
        counts = poisson.galaxies(base)
        mean = gaussian.galaxies(base)
        pull = (counts - mean) / np.sqrt(mean)
        assert abs(pull.mean()) < 0.15 and abs(pull.std() - 1) < 0.1
        np.testing.assert_allclose(
            poisson.noise(base, counts) * np.sqrt(counts / mean)[:, None],
            gaussian.noise(base),
            rtol=1e-6,
        )

    def test_pixels_without_galaxies_hold_zero(self):
        few = survey(noise="poisson", n_gal_arcmin2=[1 / ARCMIN2, 5.0])
        base = BaseMeasure(5)
        empty = few.galaxies(base) == 0
        # exp(-1) of the pixels
        assert empty[0].mean() == pytest.approx(np.exp(-1), abs=0.08)
        assert not empty[1].any()
        observed = few.observe(np.ones((2, 2, few.pixel.size)), base, PARAMETERS)
        assert np.all((observed == 0).all(axis=1) == empty)

    def test_clustered_sources_follow_the_density_and_stay_synchronised(self):
        made = survey(noise="poisson", source_bias=1.5, n_gal_arcmin2=[0.05, 0.05], mask="full")
        density = 1 + np.random.default_rng(6).normal(0, 0.2, size=(2, 12 * 16**2))
        base = BaseMeasure(7)
        counts = made.galaxies(base, density)
        wanted = made.galaxies(base).mean() * density
        pull = (counts - wanted) / np.sqrt(np.maximum(wanted, 1))
        assert abs(pull.mean()) < 0.05 and abs(pull.std() - 1) < 0.05
        assert np.corrcoef(counts.ravel(), density.ravel())[0, 1] > 0.8
        # the other tier's density differs a little, and so do its counts
        like = 1 + 0.98 * (density - 1)
        other = made.galaxies(base, like)
        apart = made.galaxies(BaseMeasure(8), like)
        assert np.abs(counts - other).mean() < 0.3 * np.abs(counts - apart).mean()


class TestFootprint:
    def test_octant_and_full_sky(self):
        octant = survey(nside=8).pixel
        # the ring on the equator belongs to neither hemisphere
        assert octant.size == (768 - 32) // 8
        theta, phi = healpy.pix2ang(8, octant, nest=True)
        assert theta.max() < np.pi / 2 and phi.max() < np.pi / 2
        assert np.array_equal(survey(nside=8, mask="full").pixel, np.arange(768))

    def test_caps_have_their_area_and_place(self):
        cap = {"lon_deg": 30.0, "lat_deg": -35.0, "area_deg2": 4143.0}
        made = survey(nside=64, mask={"caps": [cap]})
        area = made.pixel.size * healpy.nside2pixarea(64, degrees=True)
        assert area == pytest.approx(4143, rel=0.01)
        mean = np.mean(healpy.pix2vec(64, made.pixel, nest=True), axis=1)
        np.testing.assert_allclose(healpy.vec2ang(mean, lonlat=True), [[30], [-35]], atol=0.1)
        both = survey(nside=64, mask={"caps": [cap, {**cap, "lon_deg": 210.0}]})
        assert both.pixel.size == pytest.approx(2 * made.pixel.size, rel=0.01)

    def write(self, folder, values):
        healpy.write_map(folder / "mask.fits", values, nest=True, dtype=float)
        return str(folder / "mask.fits")

    def test_fractional_masks_raise_the_noise_of_what_is_observed(self, tmp_path):
        fraction = np.zeros(12 * 16**2)
        fraction[:300] = np.repeat([1.0, 0.5, 0.25], 100)
        fraction[300:400] = healpy.UNSEEN
        mask = self.write(tmp_path, fraction)
        made, whole = survey(mask=mask), survey(mask="full")
        assert made.pixel.tolist() == list(range(200))
        base = BaseMeasure(1)
        ratio = made.noise(base) / whole.noise(base)[:, :, :200]
        np.testing.assert_allclose(ratio[..., :100], 1)
        np.testing.assert_allclose(ratio[..., 100:], np.sqrt(2), rtol=1e-6)
        assert survey(mask=mask, min_coverage=0.2).pixel.size == 300

    @pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (1.5, "1.5"), (-0.1, "-0.1")])
    def test_bad_values_are_refused(self, tmp_path, value, word):
        fraction = np.ones(12 * 16**2)
        fraction[7] = value
        with pytest.raises(ConfigError, match="simulate.survey.mask") as caught:
            observed_fraction(self.write(tmp_path, fraction), 16)
        assert word in str(caught.value) and "1 pixel" in str(caught.value)


class WhiteShells:
    """A tier of the tests: shells of white noise, `extra` of them its own."""

    def __init__(self, extra):
        self.extra = extra

    def density_shells(self, cosmology, draw):
        for i in range(18):
            white = np.random.default_rng(i).normal(0, 0.1, 12 * 16**2)
            yield white + self.extra * np.random.default_rng(100 + i).normal(0, 0.1, 12 * 16**2)


@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_both_members_of_a_pair_have_the_same_nuisances_and_noise(sky, noise):
    made = survey(noise=noise, source_bias=float(noise == "poisson"), n_gal_arcmin2=[0.02, 0.02])
    known = {"delta_z_1": 0.03, "m_2": 0.5, "A_IA": 2.0}
    frame = Sky(sky.shells, 16, 32, Mesh(32, 1000.0, 32))

    def observe(extra, nuisances):
        sims = [Sim(0, 11, lambda: sky.cosmology, None, nuisances)]
        return simulate_chunk(sims, WhiteShells(extra), made, frame, 1)

    low, high = observe(0.0, known), observe(0.05, known)
    fixed = observe(0.0, {})
    np.testing.assert_array_equal(low["maps"], observe(0.0, known)["maps"])
    # the convergence knows shift and alignment, the shear the bias too
    assert not np.allclose(low["convergence"], fixed["convergence"], rtol=0.01)
    difference = low["maps"] - high["maps"]
    assert difference.std() < 0.2 * low["maps"].std()


NORMAL = {"prior": "normal", "mean": 0.0, "sd": 0.01, "infer": False}
NUISANCES = {
    "delta_z_1": NORMAL, "stretch_2": 0.9, "m_2": NORMAL, "A_IA": NORMAL | {"infer": True},
    "eta_IA": NORMAL, "z_pivot_IA": 0.62,
}  # fmt: skip
GAUSSIAN = {"kind": "gaussian", "mean": [0.4, 0.8], "sd": [0.1, 0.1], "z_max": 1.5}
CAP = {"lon_deg": 0.0, "lat_deg": 40.0, "area_deg2": 1000.0}


class TestConfig:
    """What the check lets pass and what it refuses, on the smoke config."""

    @pytest.mark.parametrize(
        "survey",
        [
            {"nuisances": NUISANCES},
            {"redshifts": GAUSSIAN, "sigma_e": [0.2, 0.3]},
            {"noise": "poisson", "source_bias": 1.0, "min_coverage": 0.1},
            {"mask": {"caps": [CAP, CAP | {"lon_deg": 200.0}]}},
        ],
    )
    def test_good(self, config, survey):
        check_config(merge(config, {"simulate": {"survey": survey}}))

    @pytest.mark.parametrize(
        ("survey", "words"),
        [
            ({"nuisances": {"delta_z_3": 0.1}}, ["nuisances.delta_z_3", "2 bins", "delta_z_2"]),
            ({"nuisances": {"A_ia": 1.0}}, ["nuisances.A_ia", "A_IA"]),
            ({"nuisances": {"m_1": NORMAL | {"sd": 0}}}, ["nuisances.m_1.sd", "0", "positive"]),
            ({"nuisances": {"m_1": NORMAL | {"sd": 0.3}}}, ["nuisances.m_1", "-1.2", "-1"]),
            ({"nuisances": {"stretch_1": 0.0}}, ["nuisances.stretch_1", "0"]),
            ({"nuisances": {"m_1": {"prior": "normal", "mean": 0, "sd": 1}}}, ["m_1.infer"]),
            ({"nuisances": {"m_1": "0.1"}}, ["nuisances.m_1", "'0.1'", "number"]),
            ({"nuisances": {"eta_IA": 1.0, "A_IA": 1.0}}, ["eta_IA", "z_pivot_IA"]),
            ({"nuisances": {"z_pivot_IA": NORMAL}}, ["z_pivot_IA", "number"]),
            ({"sigma_e": [0.3]}, ["sigma_e", "[0.3]", "2"]),
            ({"source_bias": 1.0}, ["source_bias", "1.0", "poisson"]),
            ({"noise": "possion"}, ["noise", "'possion'", "'poisson'"]),
            ({"redshifts": GAUSSIAN | {"mean": [0.8, 0.4]}}, ["mean", "[0.8, 0.4]", "increase"]),
            ({"redshifts": GAUSSIAN | {"sd": [0.1]}}, ["redshifts.sd", "[0.1]", "2 bins"]),
            ({"redshifts": GAUSSIAN | {"mean": [0.8, 1.6]}}, ["1.6", "z_max"]),
            ({"mask": {"cap": [CAP]}}, ["mask.cap", "'caps'"]),
            ({"mask": {"caps": [CAP | {"area_deg2": 0.1}]}}, ["mask", "0.1", "no pixel"]),
            ({"min_coverage": 0}, ["min_coverage", "0"]),
        ],
    )
    def test_bad(self, config, survey, words):
        with pytest.raises(ConfigError) as caught:
            check_config(merge(config, {"simulate": {"survey": survey}}))
        message = str(caught.value)
        assert all(word in message for word in ["simulate.survey", *words]), message
        assert "\n" not in message and message[-1] in ".?"

    @pytest.mark.parametrize("name", ["kids1000", "desy3", "euclid_dr1"])
    def test_surveys_stand_alone_and_on_the_smoke_run(self, name):
        for overlays in ([name], ["smoke", name]):
            check_config(read_config(*overlays))
