"""Scores of posteriors at test sims: sharpness and calibration.

Samples have shape (n_test, n_samples, d), true parameters (n_test, d); densities are physical,
log q(theta | x).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

LEVELS = np.linspace(0, 1, 101)
TABLE_LEVELS = (50, 68, 90, 95)
N_NULL = 2000  # draws of the null distribution of the TARP error
TIE = 1e-5  # densities that differ by less are the same but for rounding

METHOD_COLUMNS = [
    "method",
    "n_high",
    "n_test",
    "nlpd",
    "nlpd_error",
    "nlpd_minus_prior",
    *(f"coverage_{level}" for level in TABLE_LEVELS),
    "tarp_error",
    "tarp_null_95",
    "figure_of_merit",
    "cost_core_s",
]


def score_posterior(
    theta: np.ndarray,
    samples: np.ndarray,
    log_prob_samples: np.ndarray,
    log_prob_truth: np.ndarray,
    log_prior_truth: np.ndarray,
    *,
    names: Sequence[str],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Score a method at all test sims.

    Parameters
    ----------
    theta
        True parameters, shape (n_test, d).
    samples
        Posterior samples, shape (n_test, n_samples, d).
    log_prob_samples
        log q(theta | x) at the samples, shape (n_test, n_samples).
    log_prob_truth
        log q(theta | x) at the true parameters, shape (n_test,).
    log_prior_truth
        log p(theta) at the true parameters, shape (n_test,).
    names
        Of the parameters.
    rng
        Breaks ties and draws the reference points of TARP.

    Returns
    -------
    dict
        Numbers and lists, ready for JSON. `parameters` names the columns of `sbc_ranks`: JSON may
        sort what is kept by name.
    """
    levels = hpd_levels(log_prob_samples, log_prob_truth, rng=rng)
    ranks = sbc_ranks(theta, samples)
    gain = -log_prob_truth + log_prior_truth
    scores: dict[str, Any] = {
        "n_test": len(theta),
        **summarise_nlpd(-log_prob_truth),
        "nlpd_minus_prior": float(gain.mean()),
        "nlpd_minus_prior_error": _error_of_mean(gain),
        "nlpd_minus_prior_sims": gain.tolist(),
        "coverage_level": LEVELS.tolist(),
        "coverage": coverage(levels, LEVELS).tolist(),
        "parameters": list(names),
        "sbc_ranks": ranks.tolist(),
        "n_samples": samples.shape[1],
        "sbc_ks_p": dict(zip(names, uniformity(ranks, samples.shape[1]), strict=True)),
        "rmse": dict(zip(names, rmse(theta, samples).tolist(), strict=True)),
        "figure_of_merit": figure_of_merit(samples),
        **tarp(theta, samples, rng=rng),
    }
    for level in TABLE_LEVELS:
        scores[f"coverage_{level}"] = float(coverage(levels, np.array([level / 100]))[0])
    return scores


def summarise_nlpd(nlpd: np.ndarray) -> dict[str, float]:
    """Return mean, its standard error, median and 95 % quantile of -log q(theta | x), (n_test,)."""
    return {
        "nlpd": float(nlpd.mean()),
        "nlpd_error": _error_of_mean(nlpd),
        "nlpd_median": float(np.median(nlpd)),
        "nlpd_quantile_95": float(np.quantile(nlpd, 0.95)),
    }


def hpd_levels(
    log_prob_samples: np.ndarray, log_prob_truth: np.ndarray, *, rng: np.random.Generator
) -> np.ndarray:
    """Return for every test sim the mass of the smallest HPD region that holds the truth.

    Parameters
    ----------
    log_prob_samples
        Shape (n_test, n_samples).
    log_prob_truth
        Shape (n_test,).
    rng
        Breaks ties: where a density is flat, as a uniform prior is, its HPD region is arbitrary.
    """
    difference = log_prob_samples - log_prob_truth[:, None]
    higher = (difference > TIE).mean(1)
    tied = (np.abs(difference) <= TIE).mean(1)
    return higher + rng.random(len(tied)) * tied


def coverage(ranks: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the share of test sims whose rank, in 0 to 1, is at or below every level."""
    return (ranks[:, None] <= levels).mean(0)


def sbc_ranks(theta: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return how many samples lie below the truth in every parameter, shape (n_test, d).

    References
    ----------
    arXiv:1804.06788
    """
    return (samples < theta[:, None]).sum(1)


def uniformity(ranks: np.ndarray, n_samples: int) -> list[float]:
    """Return the Kolmogorov-Smirnov p value of every parameter's ranks, shape (n_test, d)."""
    import torch
    from sbi.diagnostics.sbc import check_uniformity_frequentist

    return check_uniformity_frequentist(torch.as_tensor(ranks), n_samples).tolist()


def rmse(theta: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return the root mean square error of the posterior mean of every parameter, shape (d,)."""
    return np.sqrt(((samples.mean(1) - theta) ** 2).mean(0))


def figure_of_merit(samples: np.ndarray) -> float:
    """Return the median over test sims of det(Cov(theta | x))^(-1/2)."""
    covariances = [np.atleast_2d(np.cov(draws, rowvar=False)) for draws in samples]
    return float(np.median([np.linalg.det(c) ** -0.5 for c in covariances]))


def tarp(theta: np.ndarray, samples: np.ndarray, *, rng: np.random.Generator) -> dict[str, Any]:
    """Test the joint coverage with random reference points (TARP).

    The credibility of a test sim is the share of samples nearer to its reference than the truth.
    sbi's own curve is a histogram between the least and the largest credibility found; here the
    levels always run from 0 to 1.

    Parameters
    ----------
    theta
        True parameters, shape (n_test, d).
    samples
        Posterior samples, shape (n_test, n_samples, d).
    rng
        Draws references and the null distribution.

    Returns
    -------
    dict
        `tarp_alpha`, `tarp_ecp`; `tarp_error`, the mean of |ECP - alpha|; `tarp_null_95`, the
        95 % quantile of the same for exact posteriors at this number of tests; `tarp_null_low`
        and `tarp_null_high`, the band that holds 95 % of their curves at every level.

    References
    ----------
    arXiv:2302.03026, algorithm 2
    """
    low, high = theta.min(0), theta.max(0)
    width = np.where(high > low, high - low, 1)
    reference = rng.random(theta.shape)
    distance = np.linalg.norm((samples - low) / width - reference[:, None], axis=-1)
    distance_truth = np.linalg.norm((theta - low) / width - reference, axis=-1)
    credibility = (distance < distance_truth[:, None]).mean(1)
    ecp = coverage(credibility, LEVELS)
    null = np.stack([coverage(rng.random(len(theta)), LEVELS) for _ in range(N_NULL)])
    band = np.quantile(null, [0.025, 0.975], axis=0)
    return {
        "tarp_alpha": LEVELS.tolist(),
        "tarp_ecp": ecp.tolist(),
        "tarp_error": float(np.abs(ecp - LEVELS).mean()),
        "tarp_null_95": float(np.quantile(np.abs(null - LEVELS).mean(1), 0.95)),
        "tarp_null_low": band[0].tolist(),
        "tarp_null_high": band[1].tolist(),
    }


def coverage_band(n_test: int, levels: np.ndarray = LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds that hold 95 % of the coverages of exact posteriors at every level."""
    low, high = stats.binom.interval(0.95, n_test, levels)
    return low / n_test, high / n_test


def _error_of_mean(x: np.ndarray) -> float:
    return float(x.std(ddof=1) / len(x) ** 0.5)
