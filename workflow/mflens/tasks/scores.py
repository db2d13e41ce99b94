"""Scores of learned posteriors and likelihoods at the test sims of all repetitions.

Every score has the shape (repetition, test sim); none is left out. NPE learns the density of the
normalised parameters y given x, NLE that of x given y.
"""

from collections.abc import Mapping

import numpy as np
import torch
from scipy import stats
from scipy.special import logsumexp, softmax
from scipy.stats import qmc
from torch import Tensor

from mflens.errors import DataError
from mflens.evaluate.distances import (
    c2st,
    forward_kl,
    forward_kl_window,
    mmd_squared,
    weighted_hpd_level,
)
from mflens.evaluate.posterior import hpd_levels
from mflens.infer.tasks import Estimate
from mflens.prior import Prior

CHUNK = 50_000  # densities evaluated at a time

Scores = dict[str, np.ndarray]


def score_estimate(
    estimate: Estimate,
    test: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    prior: Prior,
    *,
    estimator: str,
    n_samples: int,
    seed: int,
) -> Scores:
    """Score one method at all test sims.

    Parameters
    ----------
    estimate
        What the method learned.
    test
        True parameters `theta`, shape (repetition, n, d), and observations `x`, (repetition, n,
        feature).
    reference
        Exact answers (`reference.draw_reference`); empty where there are none.
    prior
        Of the parameters.
    estimator
        NPE or NLE.
    n_samples
        Samples of a posterior, or prior draws whose weights make one.
    seed
        Of all samples: the same for all methods.

    Returns
    -------
    dict
        Arrays of scores by name.

    Raises
    ------
    DataError
        If a score is not finite.
    """
    theta, x = test["theta"], test["x"]
    if estimator == "NPE":
        scores = score_posteriors(estimate, x, theta, prior, n_samples, seed)
        if "theta" in reference:
            scores["c2st"] = compare_posteriors(estimate, x, reference["theta"], prior, seed)
    else:
        scores = score_likelihood(estimate, x, theta, prior, n_samples)
        scores |= compare_likelihood(estimate, theta, reference, prior, seed)
    for name, values in scores.items():
        if not np.isfinite(values).all():
            n_bad = np.count_nonzero(~np.isfinite(values))
            raise DataError(f"{n_bad} of {values.size} values of {name} are not finite")
    return scores


def score_posteriors(
    estimate: Estimate, x: np.ndarray, theta: np.ndarray, prior: Prior, n_samples: int, seed: int
) -> Scores:
    """Score learned posteriors, log q(theta | x) = log q(y | x) - log N(y) + log p(theta).

    Returns
    -------
    dict
        `nlpd` and `nlpd_minus_prior` in nats, `hpd_level`, the mass of the smallest region that
        holds the truth, and `squared_error` of the posterior mean over the prior's variance.
    """
    context = as_tensor(x)

    def log_ratio(y: Tensor) -> np.ndarray:
        """Return log q(theta | x) - log p(theta)."""
        normal = stats.norm.logpdf(y.numpy()).sum(-1)
        return estimate.log_prob(y, context).double().numpy() - normal

    y_drawn = estimate.sample(n_samples, context, seed)
    theta_drawn = prior.from_normal(y_drawn.numpy())
    gain, log_prior = log_ratio(as_tensor(prior.to_normal(theta))), prior.log_prob(theta)
    log_drawn = log_ratio(y_drawn) + prior.log_prob(theta_drawn)
    level = hpd_levels(
        log_drawn.reshape(n_samples, -1).T,
        (gain + log_prior).ravel(),
        rng=np.random.default_rng(seed),
    )
    return {
        "nlpd": -gain - log_prior,
        "nlpd_minus_prior": -gain,
        "hpd_level": level.reshape(gain.shape),
        "squared_error": squared_error(theta_drawn.mean(0), theta, prior),
    }


def compare_posteriors(
    estimate: Estimate, x: np.ndarray, exact: np.ndarray, prior: Prior, seed: int
) -> np.ndarray:
    """Compare learned posteriors with samples of the exact ones, (repetition, n, sample, d)."""
    context = as_tensor(x[:, : exact.shape[1]])
    drawn = estimate.sample(exact.shape[2], context, seed)
    return compare_samples(exact, prior.from_normal(drawn.numpy()), seed)


def score_likelihood(
    estimate: Estimate, x: np.ndarray, theta: np.ndarray, prior: Prior, n_samples: int
) -> Scores:
    """Score a learned likelihood and the posteriors that it makes of weighted prior draws.

    The draws are a Halton sequence, the same for all test sims and methods.

    Returns
    -------
    dict
        `nll`, -log q(x | theta) in nats, and the scores of `score_posteriors`.
    """
    u = qmc.Halton(theta.shape[-1], rng=np.random.default_rng(0)).random(n_samples)
    drawn = prior.from_unit(u)
    log_weight = _log_likelihoods(estimate, x, prior.to_normal(drawn))
    log_evidence = logsumexp(log_weight, axis=-1) - np.log(n_samples)
    log_truth = _log_prob(estimate, as_tensor(x), as_tensor(prior.to_normal(theta)))
    log_prior = prior.log_prob(theta)
    log_post, log_post_truth = log_weight + prior.log_prob(drawn), log_truth + log_prior
    # one repetition after the other: ties are spread evenly over the test sims of each
    level = [
        weighted_hpd_level(*arrays)
        for arrays in zip(log_weight, log_post, log_post_truth, strict=True)
    ]
    return {
        "nll": -log_truth,
        "nlpd": log_evidence - log_truth - log_prior,
        "nlpd_minus_prior": log_evidence - log_truth,
        "hpd_level": np.stack(level),
        "squared_error": squared_error(softmax(log_weight, axis=-1) @ drawn, theta, prior),
    }


def compare_likelihood(
    estimate: Estimate,
    theta: np.ndarray,
    reference: Mapping[str, np.ndarray],
    prior: Prior,
    seed: int,
) -> Scores:
    """Compare a learned likelihood with the exact one, or with fresh simulations.

    Parameters
    ----------
    estimate
        What a method learned.
    theta
        True parameters, shape (repetition, n, d).
    reference
        Any of `node` and `node_log_p`, the scalar x at equally spaced probabilities and its exact
        log density, shape (repetition, n_reference, node); `window` (node,) and `window_log_p`,
        the same on a grid; `x`, simulations of shape (repetition, n_reference, sample, feature).
    prior
        Of the parameters.
    seed
        Of the samples.
    """
    scores: Scores = {}

    def context(n: int) -> Tensor:
        return as_tensor(prior.to_normal(theta[:, :n]))

    if "node" in reference:
        n = reference["node"].shape[1]
        log_q = log_density(estimate, reference["node"], context(n))
        scores["forward_kl"] = _per_test(forward_kl, reference["node_log_p"], log_q)
    if "window" in reference:
        log_p = reference["window_log_p"]
        grid = np.broadcast_to(reference["window"], log_p.shape)
        log_q = log_density(estimate, grid, context(log_p.shape[1]))
        scores["forward_kl_window"] = _per_test(forward_kl_window, log_p, log_q)
    if "x" in reference:
        x = reference["x"]
        drawn = estimate.sample(x.shape[2], context(x.shape[1]), seed).numpy()
        scores["mmd_squared"] = _per_test(mmd_squared, x[..., 0], np.moveaxis(drawn, 0, 2)[..., 0])
        scores["c2st"] = compare_samples(x, drawn, seed)
    return scores


def compare_samples(reference: np.ndarray, drawn: np.ndarray, seed: int) -> np.ndarray:
    """Return the accuracy of a classifier between exact and learned samples, (repetition, n).

    Parameters
    ----------
    reference
        Shape (repetition, n, sample, d).
    drawn
        Shape (sample, repetition, n, d).
    seed
        Of the classifier.
    """
    repetitions, n, n_samples = reference.shape[:3]
    learned = np.moveaxis(drawn, 0, 2)
    flat = (repetitions * n, n_samples, reference.shape[-1])
    return c2st(reference.reshape(flat), learned.reshape(flat), seed).reshape(repetitions, n)


def squared_error(mean: np.ndarray, theta: np.ndarray, prior: Prior) -> np.ndarray:
    """Return the squared error of posterior means over the prior's variance, mean over d."""
    spread = np.array([marginal.sd for marginal in prior.marginals])
    return (((mean - theta) / spread) ** 2).mean(-1)


def _log_likelihoods(estimate: Estimate, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return log q(x | y) for every x (repetition, n, feature) at every y (draw, d), draws last."""
    repetitions, n, _ = x.shape
    step = max(1, CHUNK // (repetitions * n))
    parts = []
    for start in range(0, len(y), step):
        part = y[start : start + step]
        context = np.broadcast_to(part, (repetitions, n, *part.shape))
        target = np.broadcast_to(x[:, :, None], (*context.shape[:3], x.shape[-1]))
        pair = (as_tensor(a.reshape(repetitions, n * len(part), -1)) for a in (target, context))
        parts.append(_log_prob(estimate, *pair).reshape(repetitions, n, len(part)))
    return np.concatenate(parts, axis=-1)


def log_density(estimate: Estimate, x: np.ndarray, context: Tensor) -> np.ndarray:
    """Return log q of scalar x, shape (repetition, n, node), in the same shape."""
    step = max(1, CHUNK // (x.shape[0] * x.shape[1]))
    target = as_tensor(np.moveaxis(x, -1, 0)[..., None])
    parts = [_log_prob(estimate, part, context) for part in target.split(step)]
    return np.moveaxis(np.concatenate(parts), 0, -1)


def _log_prob(estimate: Estimate, target: Tensor, context: Tensor) -> np.ndarray:
    return estimate.log_prob(target, context).double().numpy()


def _per_test(metric, *arrays: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Apply a metric of arrays (n, sample) to arrays (repetition, n, sample)."""
    flat = (array.reshape(-1, array.shape[-1]) for array in arrays)
    return metric(*flat).reshape(arrays[0].shape[:2])


def as_tensor(array: np.ndarray) -> Tensor:
    """Return an array as what estimates take, single precision."""
    return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32)
