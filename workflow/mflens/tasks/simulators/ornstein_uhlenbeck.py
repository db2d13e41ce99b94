"""The Ornstein-Uhlenbeck process: Euler-Maruyama steps against its stationary law.

    dx = gamma (mu - x) dt + sigma dW

References
----------
arXiv:2506.06087, section 5.2
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

from mflens.errors import ConfigError
from mflens.prior import Prior
from mflens.tasks.simulators.rejection import (
    cells,
    draw_cells,
    first_accepted,
    normal_mass,
    truncated_normal,
)

N_STEPS = 100
TIME_STEP = 0.1
X_0 = 2.0  # where the process starts, unless that is a parameter
N_GAMMA, N_SIGMA = 150, 80  # cells of the exact posterior's grid
BLOCK = 32  # observations whose grids are in memory at a time
SHARED_PARAMETERS = {
    "mu": {"prior": "uniform", "min": 0.1, "max": 3.0},
    "sigma": {"prior": "uniform", "min": 0.1, "max": 0.6},
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "fixed": {"gamma": {"prior": "uniform", "min": 0.1, "max": 1.0}, **SHARED_PARAMETERS},
    "free": {
        "gamma": {"prior": "uniform", "min": 0.5, "max": 1.5},
        **SHARED_PARAMETERS,
        "x_0": {"prior": "uniform", "min": 0.0, "max": 4.0},
    },
}


class Stationary:
    """Independent draws of the stationary law, N(mu, sigma^2 / (2 gamma)).

    Parameters
    ----------
    points
        Which of the steps, counted from 0, are the observation.
    """

    n_base = N_STEPS

    def __init__(self, points: Sequence[int]) -> None:
        self.points = list(points)
        self.cost = float(len(points))

    def observe(self, theta: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return x at the points, shape (n, n_points); theta (n, 3 or more), base (n, 100)."""
        gamma, mu, sigma = theta[:, :3].T[:, :, None]
        return mu + sigma / np.sqrt(2 * gamma) * ndtri(base[:, self.points])


class EulerMaruyama:
    """Steps x_{i+1} = x_i + gamma (mu - x_i) dt + sigma sqrt(dt) xi_i from x_0.

    Parameters
    ----------
    points
        Which of the steps, counted from 0, are the observation.
    """

    n_base = N_STEPS

    def __init__(self, points: Sequence[int]) -> None:
        self.points = list(points)
        self.cost = float(max(points) + 1)

    def observe(self, theta: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return x at the points, shape (n, n_points).

        Parameters
        ----------
        theta
            gamma, mu, sigma and, where it is free, x_0, shape (n, 3 or 4).
        base
            Uniform numbers, shape (n, at least 100).
        """
        gamma, mu, sigma = theta[:, :3].T
        noise = ndtri(base[:, :N_STEPS]).T * np.sqrt(TIME_STEP)
        x = theta[:, 3] if theta.shape[1] > 3 else np.full(len(theta), X_0)
        path = []
        for xi in noise[: max(self.points) + 1]:
            x = x + gamma * (mu - x) * TIME_STEP + sigma * xi
            path.append(x)
        return np.stack([path[point] for point in self.points], axis=1)


def make_tiers(*, points: Sequence[int]) -> dict[str, Stationary | EulerMaruyama]:
    """Return the tiers `stationary` and `euler_maruyama`.

    Raises
    ------
    ConfigError
        If the points are not increasing steps.
    """
    inside = [0 <= point < N_STEPS for point in points]
    if not inside or not all(inside) or not all(np.diff(points) > 0):
        raise ConfigError(
            f"tasks.ornstein_uhlenbeck.options.points: {list(points)} are not increasing steps "
            f"from 0 to {N_STEPS - 1}."
        )
    return {"stationary": Stationary(points), "euler_maruyama": EulerMaruyama(points)}


def free_parameters(initial: str) -> dict[str, Any]:
    """Return name to prior for an x_0 that is `fixed` or `free`.

    Raises
    ------
    ConfigError
        If `initial` is something else.
    """
    if initial not in PARAMETERS:
        raise ConfigError(
            f"tasks.ornstein_uhlenbeck.options.initial: '{initial}' is unknown; name "
            f"{' or '.join(PARAMETERS)}."
        )
    return PARAMETERS[initial]


def log_likelihood(theta: np.ndarray, x: np.ndarray, points: Sequence[int]) -> np.ndarray:
    """Return the exact log p(x | theta) of the Euler-Maruyama tier.

    The process is Markov, so that the density is a product of Gaussian transitions between the
    points.

    Parameters
    ----------
    theta
        gamma, mu, sigma and, where it is free, x_0, shape (..., 3 or 4).
    x
        At the points, shape (..., n_points).
    points
        Steps, counted from 0.
    """
    gamma, mu, sigma = np.moveaxis(theta[..., :3], -1, 0)[..., None]
    x = np.broadcast_to(x, (*theta.shape[:-1], len(points)))
    start = theta[..., 3:] if theta.shape[-1] > 3 else np.full_like(gamma, X_0)
    before = np.concatenate([start, x[..., :-1]], axis=-1)
    decay, variance = transitions(gamma, points)
    residual = x - mu - decay * (before - mu)
    terms = residual**2 / (variance * sigma**2) + np.log(2 * np.pi * variance * sigma**2)
    return -terms.sum(-1) / 2


def transitions(gamma: np.ndarray, points: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return how much of x - mu is left and the variance over sigma^2, from point to point.

    Over l steps these are a^l and dt (1 - a^2l) / (1 - a^2), a = 1 - gamma dt; the first
    transition is that from x_0.

    Parameters
    ----------
    gamma
        Shape (..., 1).
    points
        Steps, counted from 0.

    Returns
    -------
    tuple
        Two arrays of shape (..., n_points).
    """
    lags = np.diff([-1, *points])
    a = 1 - gamma * TIME_STEP
    decay = a**lags
    return decay, TIME_STEP * (1 - decay**2) / (1 - a**2)


class ExactPosterior:
    """Sampler of the exact posterior of the Euler-Maruyama tier.

    Given gamma and sigma the observation is linear in mu with Gaussian noise, so that mu is a
    truncated normal and integrates out; so does a free x_0, which the first transition alone
    knows. What is left is a grid in gamma and sigma, the only approximation.

    Parameters
    ----------
    points
        Steps, counted from 0, that are the observation.
    parameters
        Name to uniform prior; x_0 may be one of them.
    """

    def __init__(self, points: Sequence[int], parameters: Mapping[str, Any]) -> None:
        self.points, self.free_start = list(points), "x_0" in parameters
        self.bounds = Prior(parameters).bounds
        self.gamma, self.gamma_width = cells(self.bounds[0], N_GAMMA)
        self.sigma, self.sigma_width = cells(self.bounds[2], N_SIGMA)

    def sample(self, x: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Return samples, shape (n, n_samples, 3 or 4), given x, shape (n, n_points)."""
        blocks = np.split(x, range(BLOCK, len(x), BLOCK))
        return np.concatenate([self._sample_block(block, n_samples, rng) for block in blocks])

    def _sample_block(self, x: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        cumulative = np.cumsum(self._grid(x), axis=1)

        def propose(targets: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
            row, column = np.divmod(draw_cells(cumulative[targets], n, rng), N_SIGMA)
            gamma = self.gamma[row] + self.gamma_width * (rng.random(row.shape) - 0.5)
            sigma = self.sigma[column] + self.sigma_width * (rng.random(row.shape) - 0.5)
            return self._complete(x[targets], gamma, sigma, rng)

        return first_accepted(propose, len(x), n_samples)

    def _grid(self, x: np.ndarray) -> np.ndarray:
        """Return p(gamma, sigma | x) up to a factor, shape (n, N_GAMMA N_SIGMA)."""
        mean, precision, squares, log_norm = self._regress(x[:, None], self.gamma)
        sd = self.sigma / np.sqrt(precision)[:, None]
        low, high = ((bound - mean[..., None]) / sd for bound in self.bounds[1])
        # mu has taken one factor 1/sigma, x_0 another
        power = len(self.points) - 1 - self.free_start
        log_p = log_norm[..., None] - squares[..., None] / (2 * self.sigma**2)
        log_p = log_p - power * np.log(self.sigma)
        with np.errstate(divide="ignore"):
            log_p = log_p + np.log(normal_mass(low, high))
        log_p = log_p.reshape(len(x), -1)
        return np.exp(log_p - log_p.max(1, keepdims=True))

    def _regress(self, x: np.ndarray, gamma: np.ndarray) -> tuple[np.ndarray, ...]:
        """Regress the transitions of x on mu, for sigma = 1.

        Parameters
        ----------
        x
            Shape (n, 1, n_points).
        gamma
            Shape (k,) or (n, k).

        Returns
        -------
        tuple
            Mean of mu, (n, k); its precision, (k,) or (n, k); the sum of the squared residuals,
            (n, k); the log of what else depends on gamma, shape as the precision.
        """
        decay, variance = transitions(gamma[..., None], self.points)
        before = np.concatenate([np.full_like(x[..., :1], X_0), x[..., :-1]], axis=-1)
        used = slice(int(self.free_start), None)
        weight, slope = 1 / variance[..., used], 1 - decay[..., used]
        residual = x[..., used] - decay[..., used] * before[..., used]
        precision = (slope**2 * weight).sum(-1)
        mean = (slope * residual * weight).sum(-1) / precision
        squares = (residual**2 * weight).sum(-1) - precision * mean**2
        log_norm = (np.log(weight).sum(-1) - np.log(precision)) / 2
        return mean, precision, squares, log_norm - self.free_start * np.log(decay[..., 0])

    def _complete(
        self, x: np.ndarray, gamma: np.ndarray, sigma: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw mu and a free x_0 given gamma and sigma; say whether they are in the prior."""
        mean, precision, *_ = self._regress(x[:, None], gamma)
        sd = sigma / np.sqrt(precision)
        low, high = ((bound - mean) / sd for bound in self.bounds[1])
        mu = mean + sd * truncated_normal(low, high, rng)
        if not self.free_start:
            return np.stack([gamma, mu, sigma], axis=-1), np.isfinite(mu)
        decay, variance = transitions(gamma[..., None], self.points[:1])
        noise = sigma * np.sqrt(variance[..., 0]) * rng.standard_normal(mu.shape)
        x_0 = mu + (x[:, :1] - mu + noise) / decay[..., 0]
        accepted = (x_0 > self.bounds[3, 0]) & (x_0 < self.bounds[3, 1])
        return np.stack([gamma, mu, sigma, x_0], axis=-1), accepted
