"""Scores against closed forms."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from mflens.evaluate import posterior as evaluate

N_TEST, N_SAMPLES = 400, 500


def gaussian_test(width, shift=0.0, seed=0):
    """Return the arrays of a test in which truths follow N(mean, 1) and q = N(mean, width^2)."""
    rng = np.random.default_rng(seed)
    mean = 3 * rng.standard_normal((N_TEST, 2))
    theta = mean + rng.standard_normal((N_TEST, 2))
    q = stats.norm(0, width)
    residual = q.rvs((N_TEST, N_SAMPLES, 2), random_state=rng)
    centre = mean + shift
    return (
        theta,
        centre[:, None] + residual,
        q.logpdf(residual).sum(-1),
        q.logpdf(theta - centre).sum(-1),
        stats.norm(0, 10**0.5).logpdf(theta).sum(-1),
    )


def score(arrays):
    return evaluate.score_posterior(*arrays, names=["a", "b"], rng=np.random.default_rng(1))


def test_calibrated_gaussian():
    arrays = gaussian_test(1.0)
    result = score(arrays)
    entropy = 1 + np.log(2 * np.pi)
    assert result["nlpd"] == pytest.approx(entropy, abs=4 * result["nlpd_error"])
    assert result["nlpd_error"] == pytest.approx(1 / N_TEST**0.5, rel=0.2)
    assert result["nlpd_minus_prior"] == pytest.approx(-np.log(10), abs=0.2)
    for level in (50, 68, 90, 95):
        error = (level / 100 * (1 - level / 100) / N_TEST) ** 0.5
        assert result[f"coverage_{level}"] == pytest.approx(level / 100, abs=3.5 * error)
    assert result["tarp_error"] < result["tarp_null_95"]
    assert min(result["sbc_ks_p"].values()) > 0.01
    assert result["figure_of_merit"] == pytest.approx(1, rel=0.05)
    assert result["rmse"]["a"] == pytest.approx(1, rel=0.1)
    json.dumps(result)


def test_overconfident_gaussian():
    result = score(gaussian_test(0.5))
    for level in (50, 68, 90, 95):
        # radius of the region of q in units of the true width
        radius = 0.5 * stats.chi2(2).ppf(level / 100) ** 0.5
        assert result[f"coverage_{level}"] == pytest.approx(stats.chi2(2).cdf(radius**2), abs=0.08)
    assert result["tarp_error"] > result["tarp_null_95"]
    assert max(result["sbc_ks_p"].values()) < 0.01
    assert result["figure_of_merit"] == pytest.approx(4, rel=0.05)


def test_biased_gaussian_fails_tarp_and_sbc():
    result = score(gaussian_test(1.0, shift=0.7))
    assert result["tarp_error"] > result["tarp_null_95"]
    assert max(result["sbc_ks_p"].values()) < 1e-6


def test_flat_density_has_nominal_coverage():
    rng = np.random.default_rng(2)
    levels = evaluate.hpd_levels(np.zeros((N_TEST, 50)), 1e-9 * np.ones(N_TEST), rng=rng)
    assert stats.kstest(levels, "uniform").pvalue > 0.01


def test_tarp_null_holds_its_level():
    rng = np.random.default_rng(3)
    errors, quantiles = [], []
    for _ in range(40):
        result = evaluate.tarp(
            rng.standard_normal((60, 2)), rng.standard_normal((60, 100, 2)), rng=rng
        )
        errors.append(result["tarp_error"])
        quantiles.append(result["tarp_null_95"])
    assert np.mean(np.array(errors) > np.mean(quantiles)) < 0.15


def test_tarp_agrees_with_sbi():
    from sbi.diagnostics.tarp import _run_tarp

    theta, samples, *_ = gaussian_test(0.7, seed=4)
    ours = evaluate.tarp(theta, samples, rng=np.random.default_rng(5))
    low, high = theta.min(0), theta.max(0)
    reference = low + (high - low) * np.random.default_rng(5).random(theta.shape)
    ecp, alpha = _run_tarp(
        *(torch.as_tensor(a) for a in (samples.swapaxes(0, 1), theta, reference)),
        num_bins=100,
        z_score_theta=True,
    )
    np.testing.assert_allclose(
        np.interp(alpha, ours["tarp_alpha"], ours["tarp_ecp"]), ecp, atol=0.03
    )


def test_coverage_band_holds_most_exact_coverages():
    rng = np.random.default_rng(6)
    low, high = evaluate.coverage_band(112)
    curves = np.array([evaluate.coverage(rng.random(112), evaluate.LEVELS) for _ in range(500)])
    inside = ((curves >= low) & (curves <= high)).mean(0)
    assert inside[1:-1].min() > 0.9
