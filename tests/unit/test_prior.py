"""Priors, the design and the plan of sims."""

import numpy as np
import pytest
import torch
from scipy import stats

from mflens.design.draw import draw_design
from mflens.infer.linear import fit_linear_high
from mflens.infer.posterior import Posterior, sample_theta
from mflens.prior import Prior
from mflens.run import plan

PARAMETERS = {
    "Omega_m": {"prior": "uniform", "min": 0.2, "max": 0.4},
    "sigma_8": {"prior": "normal", "mean": 0.8, "sd": 0.1},
    "h": 0.7,
}
SIZES = [("bulk", 32, 4), ("validation", 8, 4), ("test", 16, 1), ("pairs_lpt", 16, 1)]
PRIOR = Prior(PARAMETERS)


def test_map_to_normals_is_inverted_and_has_the_right_density():
    theta = np.array([[0.25, 0.7], [0.39, 0.95], [0.2001, 0.8]])
    y = PRIOR.to_normal(theta)
    np.testing.assert_allclose(PRIOR.from_normal(y), theta, rtol=1e-9)
    # p(theta) = N(y) |dy/dtheta|, by finite differences
    step = 1e-6
    jacobian = [
        (PRIOR.to_normal(theta + step * e) - PRIOR.to_normal(theta - step * e))[:, i] / (2 * step)
        for i, e in enumerate(np.eye(2))
    ]
    density = stats.norm.logpdf(y).sum(axis=1) + np.log(jacobian).sum(axis=0)
    np.testing.assert_allclose(PRIOR.log_prob(theta), density, rtol=1e-4, atol=1e-4)
    assert PRIOR.bounds.tolist() == [[0.2, 0.4], [-np.inf, np.inf]]
    assert PRIOR.complete(np.array([0.3, 0.8])) == {"Omega_m": 0.3, "sigma_8": 0.8, "h": 0.7}


def test_marginals_are_those_of_scipy():
    x, u = np.array([-0.1, 0.2, 0.31, 0.4, 0.8, 2.0]), np.array([1e-9, 0.3, 0.5, 0.99])
    scipy = (stats.uniform(0.2, 0.2), stats.norm(0.8, 0.1))
    for ours, theirs in zip(PRIOR.marginals, scipy, strict=True):
        np.testing.assert_allclose(ours.cdf(x), theirs.cdf(x), rtol=1e-12)
        np.testing.assert_allclose(ours.logpdf(x), theirs.logpdf(x), rtol=1e-12)
        np.testing.assert_allclose(ours.ppf(u), theirs.ppf(u), rtol=1e-12)
        assert ours.support == pytest.approx(theirs.support())
        assert ours.sd == pytest.approx(theirs.std())


def test_design_fills_the_prior_and_splits_share_nothing():
    table = draw_design(PRIOR, SIZES, seed=3)
    assert table["sim"].is_unique and table["seed"].is_unique
    cosmologies = table.drop_duplicates("cosmology")
    assert cosmologies["Omega_m"].is_unique
    assert (table.groupby("cosmology")["split"].nunique() == 1).all()
    assert (table.query("split == 'bulk'").groupby("cosmology").size() == 4).all()
    u = stats.norm.cdf(PRIOR.to_normal(table[PRIOR.names].to_numpy()))
    assert u.min() > 0 and u.max() < 1
    assert np.abs(u.mean(axis=0) - 0.5).max() < 0.05


def test_a_larger_split_keeps_the_sims_of_all_splits():
    larger = [("bulk", 64, 4), *SIZES[1:]]
    old = draw_design(PRIOR, SIZES, seed=3).set_index("sim")
    new = draw_design(PRIOR, larger, seed=3).set_index("sim")
    assert new.loc[old.index].equals(old)


def test_seed_changes_everything():
    a, b = (draw_design(PRIOR, SIZES, seed=seed) for seed in (3, 4))
    assert not set(a["seed"]) & set(b["seed"])
    assert not set(a["Omega_m"]) & set(b["Omega_m"])


@pytest.mark.parametrize("ladder", [["lognormal", "lpt"], ["lognormal", "lpt", "particle_mesh"]])
def test_splits_run_on_neighbours(ladder):
    splits = plan.splits(ladder)
    assert splits["bulk"] == splits["validation"] == ["lognormal"]
    assert splits["test"] == [ladder[-1]]
    assert splits["pairs_lpt"] == ["lognormal", "lpt"]
    assert len(splits) == 3 + len(ladder) - 1


def test_chunks_and_meshes():
    simulate = {
        "sims": {"bulk": 10, "pairs": 5},
        "chunk_size": {"bulk": 4, "pairs": 5},
        "realisations_per_cosmology": 2,
        "mocks_per_run": 3,
        "tiers": {"mine": {"class": "a.B", "uses_mesh": True}, "lognormal": {}},
    }
    assert plan.n_chunks("bulk", simulate) == 3
    assert plan.n_chunks("pairs_mine", simulate) == 1
    assert plan.realisations("bulk", simulate) == 2 and plan.realisations("test", simulate) == 1
    assert plan.realisations("pairs_mine", simulate) == 3
    assert plan.shares_mesh("pairs_mine", ["lognormal", "mine"], simulate)
    assert not plan.shares_mesh("bulk", ["lognormal", "mine"], simulate)
    assert plan.runs(["prior", "linear"], [16, 8]) == [("prior", 0), ("linear", 8), ("linear", 16)]


def test_normal_priors_end_where_the_emulator_does():
    """Strata of 2^16 draws lie beyond four standard deviations on either side."""
    prior = Prior({"h": {"prior": "normal", "mean": 0.7, "sd": 0.01}})
    h = draw_design(prior, [("bulk", 2**16, 1)], seed=3)["h"]
    assert [h.min(), h.max()] == pytest.approx([0.66, 0.74], rel=1e-9)


GRID = {
    "Omega_m": {"prior": "uniform", "min": 0.15, "max": 0.45},
    "sigma_8": {"prior": "uniform", "min": 0.6, "max": 1.0},
}
WIDER = {
    "Omega_m": {"prior": "uniform", "min": 0.149, "max": 0.451},
    "sigma_8": {"prior": "uniform", "min": 0.599, "max": 1.001},
}


def scores_of_a_grid(parameters, theta, noise):
    """Return what a linear fit to a suite says of its truths, and densities at its samples."""
    prior = Prior(parameters)
    rng = np.random.default_rng(2)
    x = torch.as_tensor(np.hstack([theta, theta**2]) @ rng.standard_normal((4, 6)))
    x = x + noise * torch.as_tensor(rng.standard_normal(x.shape))
    model = fit_linear_high(x, torch.as_tensor(prior.to_normal(prior.inside(theta))))
    drawn = sample_theta(Posterior([model], "spectra"), x, theta, prior, n_samples=2000, seed=1)
    assert all(np.isfinite(values).all() for values in drawn.values())
    return (drawn["log_prior_truth"] - drawn["log_prob_truth"]).mean()


@pytest.mark.parametrize("noise", [0.02, 0.2, 2.0])
@pytest.mark.parametrize("n_values", [2, 3, 6])
@pytest.mark.parametrize("digits", [0.0, 1e-12, -1e-12])
def test_sims_on_the_bounds_score_as_with_a_prior_wider_by_little(noise, n_values, digits):
    """A grid of 36 sims whose outer ones, at two values all of them, lie on the bounds."""
    ends = [np.linspace(low, high, n_values) for low, high in Prior(GRID).bounds]
    theta = np.stack(np.meshgrid(*ends), axis=-1).reshape(-1, 2)
    theta = np.tile(theta, (36 // len(theta), 1)) * (1 + digits)
    as_grid, wider = (scores_of_a_grid(p, theta, noise) for p in (GRID, WIDER))
    assert as_grid == pytest.approx(wider, abs=0.15)


def test_only_sims_at_the_bounds_are_moved_and_by_little():
    theta = np.array([[0.2, 30.0], [0.4 + 1e-12, -30.0], [0.3, 0.8], [0.2007, 0.8]])
    inside = PRIOR.inside(theta)
    expected = [[0.2 + 0.2 / 300, 30.0], [0.4 - 0.2 / 300, -30.0], [0.3, 0.8], [0.2007, 0.8]]
    np.testing.assert_allclose(inside, expected, rtol=1e-12)
    np.testing.assert_allclose(PRIOR.to_normal(inside)[:2, 0], [-2.713, 2.713], atol=1e-3)


def test_map_of_normal_priors_keeps_its_density_far_from_the_mean():
    """N(y) dy/dtheta is scipy's density, 12 and 40 standard deviations out."""
    theta = np.array([[0.3, 2.0], [0.3, -3.2]])
    y = PRIOR.to_normal(theta)[:, 1]
    expected = stats.norm(0.8, 0.1).logpdf(theta[:, 1])
    np.testing.assert_allclose(stats.norm.logpdf(y) - np.log(0.1), expected, rtol=1e-12)
    np.testing.assert_allclose(PRIOR.from_normal(PRIOR.to_normal(theta)), theta, rtol=1e-12)


def test_samples_stay_within_the_bounds_to_the_last_bit():
    """0.15 + (0.45 - 0.15) is above 0.45, where the density is zero."""
    prior = Prior(GRID)
    theta = prior.from_normal(np.array([[-40.0, -40.0], [40.0, 40.0]]))
    assert np.isfinite(prior.log_prob(theta)).all()
    np.testing.assert_array_equal(theta, prior.bounds.T)
