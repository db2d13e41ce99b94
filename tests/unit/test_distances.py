"""Distances and comparisons against closed forms."""

import numpy as np
import pytest
from scipy import stats

from mflens.errors import DataError
from mflens.evaluate.distances import (
    c2st,
    forward_kl,
    forward_kl_window,
    mmd_squared,
    paired_comparison,
    probability_nodes,
    quadrature_nodes,
    weighted_hpd_level,
)

P, Q = stats.norm(0.3, 1.0), stats.norm(0.0, 2.0)
# of two normals: log(s_q / s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2
KL = np.log(2) + (1 + 0.3**2) / 8 - 0.5


@pytest.mark.parametrize(
    ("nodes", "tolerance"),
    [((probability_nodes(2000), None), 2e-3), (quadrature_nodes(100), 1e-6)],
)
def test_forward_kl_of_normals(nodes, tolerance):
    x = P.ppf(nodes[0])[None]
    found = forward_kl(P.logpdf(x), Q.logpdf(x), nodes[1])
    assert found[0] == pytest.approx(KL, abs=tolerance)
    assert forward_kl(P.logpdf(x), P.logpdf(x), nodes[1])[0] == 0


def test_forward_kl_sees_mass_outside_the_window_and_the_published_figure_does_not():
    x = np.linspace(-30, 30, 2001)[None]
    assert forward_kl_window(P.logpdf(x), Q.logpdf(x))[0] == pytest.approx(KL, abs=1e-6)
    # half of q's mass far away
    log_q = P.logpdf(x) + np.log(0.5)
    assert forward_kl_window(P.logpdf(x), log_q)[0] == pytest.approx(0, abs=1e-12)
    assert forward_kl(P.logpdf(x), log_q)[0] == pytest.approx(np.log(2))


@pytest.mark.parametrize("metric", [forward_kl, forward_kl_window])
def test_distances_keep_the_test_sims_apart(metric):
    x = P.ppf(probability_nodes(50))
    log_p = np.stack([P.logpdf(x), P.logpdf(x)])
    both = metric(log_p, np.stack([Q.logpdf(x), P.logpdf(x)]))
    assert both.shape == (2,) and both[0] > 0.01 and both[1] == pytest.approx(0, abs=1e-12)


def test_mmd_of_two_points():
    # distances within the reference are all 2, so that the kernel is exp(-d^2 / 4)
    x, y = np.array([[0.0, 2.0]]), np.array([[0.0, 0.0]])
    k = np.exp(-1.0)
    assert mmd_squared(x, y)[0] == pytest.approx((1 + k) / 2 + 1 - (1 + k))


def test_mmd_of_normals():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 500)), 0.8 + rng.standard_normal((20, 500))
    # d^2 of a pair is 2 chi^2_1; a kernel of this width gives E k = (1 + 4 / s)^(-1/2) exp(...)
    s = 2 * stats.chi2(1).median()
    expected = 2 * (1 + 4 / s) ** -0.5 * (1 - np.exp(-(0.8**2) / (s + 4)))
    bias = 2 / 500 * (1 - (1 + 4 / s) ** -0.5)
    assert mmd_squared(x, y).mean() == pytest.approx(expected + bias, rel=0.05)
    assert mmd_squared(x, rng.standard_normal((20, 500))).mean() == pytest.approx(bias, rel=0.3)
    np.testing.assert_allclose(mmd_squared(x, x), 0, atol=1e-12)


@pytest.mark.parametrize("d", [1, 3])
def test_c2st_of_normals(d):
    rng = np.random.default_rng(d)
    x, y = rng.standard_normal((2, 25, 400, d))
    assert c2st(x, y, 0).mean() == pytest.approx(0.5, abs=0.02)
    # the best classifier of two normals a distance delta apart is right Phi(delta / 2) of the time
    y = y + 2 / d**0.5
    assert c2st(x, y, 0).mean() == pytest.approx(stats.norm.cdf(1), abs=0.015)


def test_c2st_sees_shape_and_is_blind_to_units_and_outliers():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10, 400, 2))
    ring = rng.standard_normal((10, 400, 2))
    ring *= np.sqrt(2) / np.linalg.norm(ring, axis=-1, keepdims=True)
    assert c2st(x, ring, 0).mean() > 0.85
    y = x[:5] + 1
    np.testing.assert_allclose(
        c2st(x[5:] * [1e6, 1e-6], y * [1e6, 1e-6], 0), c2st(x[5:], y, 0), atol=0.005
    )
    y[:, 0] = 1e8
    assert c2st(x[5:], y, 0).mean() == pytest.approx(stats.norm.cdf(0.5**0.5), abs=0.03)


def test_c2st_is_repeatable():
    x, y = np.random.default_rng(0).standard_normal((2, 2, 100, 2))
    np.testing.assert_array_equal(c2st(x, y, 3), c2st(x, y, 3))
    assert (c2st(x, y, 3) != c2st(x, y, 4)).any()


def test_weighted_hpd_levels_of_a_conjugate_normal():
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(300)
    x = theta + rng.standard_normal(300)
    drawn = np.linspace(-6, 6, 2001)[None]
    log_post = stats.norm.logpdf(x[:, None], drawn) + stats.norm.logpdf(drawn)
    log_post_truth = stats.norm.logpdf(x, theta) + stats.norm.logpdf(theta)
    # the draws are uniform, so that their weights are the posterior
    level = weighted_hpd_level(log_post + 700, log_post, log_post_truth)
    # the posterior is N(x / 2, 1 / 2)
    expected = stats.chi2(1).cdf(2 * (theta - x / 2) ** 2)
    np.testing.assert_allclose(level, expected, atol=0.01)


def test_weighted_hpd_levels_of_a_flat_posterior_are_nominal():
    level = weighted_hpd_level(np.zeros((50, 9)), np.ones((50, 9)), np.ones(50))
    np.testing.assert_allclose(level, probability_nodes(50))


def test_paired_comparison_has_the_interval_of_a_t_test():
    rng = np.random.default_rng(1)
    b = 100 * rng.standard_normal((20, 50))
    units = 0.2 + 0.1 * rng.standard_normal((20, 1))
    a = b + units + rng.standard_normal((20, 50))
    found = paired_comparison(a, b, rng=rng)
    interval = stats.ttest_1samp((a - b).mean(1), 0).confidence_interval()
    assert found.difference == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx(tuple(interval), abs=0.02)
    assert found.significant == (found.low > 0)


def test_paired_comparison_misses_the_truth_in_one_of_twenty():
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(200):
        a = 0.1 * rng.standard_normal((20, 1)) + rng.standard_normal((20, 30))
        missed += paired_comparison(a, np.zeros_like(a), rng=rng).significant
    assert stats.binomtest(missed, 200, 0.05).pvalue > 0.01


def test_paired_comparison_of_a_single_repetition():
    a = np.random.default_rng(3).standard_normal((1, 400))
    found = paired_comparison(a, np.zeros_like(a), rng=np.random.default_rng(0))
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.15)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_raise(bad):
    good, broken = np.zeros((2, 4)), np.zeros((2, 4))
    broken[1, 2] = bad
    calls = [
        lambda: forward_kl(good, broken),
        lambda: forward_kl_window(broken, good),
        lambda: mmd_squared(good, broken),
        lambda: c2st(good[..., None], broken[..., None], 0),
        lambda: weighted_hpd_level(good, good, broken[:, 2]),
        lambda: paired_comparison(broken, good, rng=np.random.default_rng(0)),
    ]
    for call in calls:
        with pytest.raises(DataError, match=r"1 of \d+ values of \w+ are not finite"):
            call()
