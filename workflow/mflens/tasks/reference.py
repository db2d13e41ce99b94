"""Exact answers of the published tasks, with which what was learned is compared."""

from collections.abc import Sequence

import numpy as np

from mflens.errors import ConfigError
from mflens.evaluate.distances import probability_nodes
from mflens.tasks.simulators import g_and_k
from mflens.tasks.simulators.toys import Toy

WINDOW = (-30.0, 30.0, 2000)  # the grid of the published forward KL: ends and nodes

Arrays = dict[str, np.ndarray]


def draw_reference(
    toy: Toy,
    theta: np.ndarray,
    x: np.ndarray,
    metrics: Sequence[str],
    *,
    estimator: str,
    n_samples: int,
    seed: int,
) -> Arrays:
    """Return the exact answers at test sims.

    Parameters
    ----------
    toy
        Simulators of the task.
    theta, x
        Parameters, shape (repetition, n, d), and observations, (repetition, n, feature).
    metrics
        Names of the metrics that need them.
    estimator
        NPE or NLE.
    n_samples
        Samples, or nodes of a density.
    seed
        Of the samples.

    Returns
    -------
    dict
        For NPE `theta`, samples of the exact posterior, shape (repetition, n, sample, d). For NLE
        `node` and `node_log_p`, a scalar x at equally spaced probabilities and its log density,
        (repetition, n, sample), `window` (node,) and `window_log_p` (repetition, n, node), its log
        density on a grid, or `x`, fresh simulations, (repetition, n, sample, feature).

    Raises
    ------
    ConfigError
        If the task has no exact posterior.
    """
    repetitions, n, d = theta.shape
    rng = np.random.default_rng([seed, 1])  # not the stream of the sims
    if estimator == "NPE":
        if toy.posterior is None:
            raise ConfigError("metrics: this task has no exact posterior; leave c2st out.")
        drawn = toy.posterior.sample(x.reshape(repetitions * n, -1), n_samples, rng)
        return {"theta": drawn.reshape(repetitions, n, n_samples, d)}
    arrays: Arrays = {}
    if "forward_kl" in metrics:
        u = probability_nodes(n_samples)
        node = g_and_k.log_density_at_quantiles(theta.reshape(-1, d), u)
        shape = (repetitions, n, n_samples)
        arrays |= {"node": node[0].reshape(shape), "node_log_p": node[1].reshape(shape)}
    if "forward_kl_window" in metrics:
        window = np.linspace(*WINDOW)
        log_p = g_and_k.log_density(theta.reshape(-1, d), window)
        arrays |= {"window": window, "window_log_p": log_p.reshape(repetitions, n, -1)}
    if {"mmd_squared", "c2st"} & set(metrics):
        repeated = np.broadcast_to(theta[:, :, None], (repetitions, n, n_samples, d))
        arrays["x"] = toy.simulate(toy.ladder[-1], repeated, rng)
    return arrays
