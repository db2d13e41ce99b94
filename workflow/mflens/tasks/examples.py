"""What was learned of single test sims, for figures: those of the first repetition."""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from mflens.infer.tasks import Estimate
from mflens.prior import Prior
from mflens.tasks.scores import as_tensor, log_density

N_NODES = 300
N_BINS = 40
TAIL = 0.03  # share of x beyond each end of the abscissa

Curve = tuple[np.ndarray, np.ndarray]


def posterior_examples(
    estimate: Estimate, x: np.ndarray, prior: Prior, *, n_samples: int, seed: int
) -> np.ndarray:
    """Return posterior samples, shape (n, sample, d), given x, shape (repetition, n, feature)."""
    drawn = estimate.sample(n_samples, as_tensor(x), seed)[:, 0].numpy()
    return np.moveaxis(prior.from_normal(drawn), 0, 1)


def posterior_densities(
    estimate: Estimate, x: np.ndarray, prior: Prior, nodes: np.ndarray
) -> np.ndarray:
    """Return posterior densities of a single parameter.

    Parameters
    ----------
    estimate
        What was learned.
    x
        Observations, shape (repetition, n, feature).
    prior
        Of the parameter.
    nodes
        Values of the parameter, shape (node,), inside the prior's support.

    Returns
    -------
    array
        log q(theta | x) = log q(y | x) - log N(y) + log p(theta), exponentiated, (n, node).
    """
    y = prior.to_normal(nodes[:, None])
    targets = np.broadcast_to(y[:, 0], (*x.shape[:2], len(nodes)))
    log_q = log_density(estimate, targets, as_tensor(x))[0]
    return np.exp(log_q - stats.norm.logpdf(y[:, 0]) + prior.log_prob(nodes[:, None]))


def likelihood_examples(
    estimate: Estimate, theta: np.ndarray, nodes: np.ndarray, prior: Prior
) -> np.ndarray:
    """Return learned densities of a scalar x.

    Parameters
    ----------
    estimate
        What was learned.
    theta
        Parameters, shape (repetition, n, d).
    nodes
        Values of x, shape (n, node).
    prior
        Of the parameters.

    Returns
    -------
    array
        Shape (n, node).
    """
    everywhere = np.broadcast_to(nodes, (len(theta), *nodes.shape))
    return np.exp(log_density(estimate, everywhere, as_tensor(prior.to_normal(theta)))[0])


def inner_nodes(prior: Prior) -> np.ndarray:
    """Return equally spaced values of a single parameter, shape (node,), inside its prior."""
    # ASSUME that a normal prior's posteriors lie within its central 99.99 %
    low, high = prior.marginals[0].ppf(np.array([0.5e-4, 1 - 0.5e-4]))
    return np.linspace(low, high, N_NODES)


def abscissae(x: np.ndarray) -> np.ndarray:
    """Return equally spaced values, shape (n, node), that hold nearly all of x, shape (n, m)."""
    low, high = np.quantile(x, [TAIL, 1 - TAIL], axis=1)
    return np.linspace(low, high, N_NODES, axis=1)


def exact_examples(
    reference: Mapping[str, np.ndarray], x: np.ndarray
) -> tuple[np.ndarray, list[Curve]]:
    """Return values of x, shape (n, m), and the exact densities of every test sim.

    Parameters
    ----------
    reference
        Exact answers for NLE (`reference.draw_reference`): densities, or simulations, of which a
        histogram is made. Without either there are no curves.
    x
        Observations, shape (repetition, n, 1): where to look without exact answers.
    """
    if "node" in reference:
        node, log_p = reference["node"][0], reference["node_log_p"][0]
        return node, list(zip(node, np.exp(log_p), strict=True))
    if "x" not in reference:
        return np.broadcast_to(x.ravel(), (x.shape[1], x.size)), []
    drawn = reference["x"][0, ..., 0]
    curves = []
    for values, nodes in zip(drawn, abscissae(drawn), strict=True):
        edges = np.linspace(nodes[0], nodes[-1], N_BINS + 1)
        heights = np.histogram(values, edges)[0] / (len(values) * np.diff(edges))
        curves.append((np.repeat(edges, 2)[1:-1], np.repeat(heights, 2)))
    return drawn, curves
