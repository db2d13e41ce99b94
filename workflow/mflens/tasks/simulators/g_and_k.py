"""The g-and-k distribution: exact quantile function against its third-order Taylor expansion.

    x = theta_1 + theta_2 (1 + 0.8 tanh(theta_3 z / 2)) (1 + z^2)^(log theta_4) z

with z a standard normal: exactly sqrt(2) erfinv(v), v = 2u - 1, or its expansion about v = 0, or a
mean of both.

References
----------
arXiv:2506.06087, section 5.1
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy.interpolate import RegularGridInterpolator
from scipy.special import ndtri

from mflens.errors import ConfigError
from mflens.prior import Prior
from mflens.tasks.simulators.rejection import cells, draw_cells, first_accepted

PARAMETERS = {
    "theta_1": {"prior": "uniform", "min": 0.0, "max": 3.0},
    "theta_2": {"prior": "uniform", "min": 0.0, "max": 3.0},
    "theta_3": {"prior": "uniform", "min": 0.0, "max": 3.0},
    # as in the published code: below e^0.5, the paper's range, the exponent can be negative
    "theta_4": {"prior": "uniform", "min": float(np.exp(0.5)), "max": 3.0},
}
SKEWNESS = 0.8  # the conventional constant in front of tanh
# sqrt(2) erfinv(v) = sqrt(2) prefactor (v + pi v^3 / 12 + ...)
PREFACTORS = {"taylor": np.sqrt(np.pi) / 2, "published": np.pi / 2}
OCTILES = np.arange(1, 8) / 8
# the table that inverts the quantile function: asinh z at its end, size, polishing steps
TABLE_END, TABLE_SIZE, NEWTON_STEPS = 9.0, 1001, 2
# the exact posterior's grid in theta_3 and theta_4, the nodes its moments are computed at, how
# many draws compute them, and how many observations are in memory at a time
N_CELLS, N_NODES, N_QUADRATURE, BLOCK = (150, 100), (7, 5), 16384, 16
LEAST_NORMAL = 100  # draws from which on the octile summaries are nearly normal


class GAndK:
    """One fidelity of the g-and-k distribution.

    Parameters
    ----------
    m
        Independent draws a sim; its observation is the draw itself for one, else the four octile
        summaries.
    prefactor
        Of the expansion.
    gap
        Share of the expansion in z; 0 for the exact quantile function.
    """

    def __init__(self, m: int, prefactor: float, gap: float) -> None:
        self.m, self.prefactor, self.gap = m, prefactor, gap
        self.n_base = m
        self.cost = float(m)

    def observe(self, theta: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return the draw, shape (n, 1), or the octile summaries, (n, 4).

        Parameters
        ----------
        theta
            Shape (n, 4).
        base
            Uniform numbers, shape (n, at least m).
        """
        u = base[:, : self.m]
        z = (1 - self.gap) * ndtri(u) + self.gap * expand(u, self.prefactor)
        x = from_normal(theta, z)
        return x if self.m == 1 else summarise(x)


def make_tiers(*, m: int, prefactor: str, gap: float) -> dict[str, GAndK]:
    """Return the tiers `taylor` and `exact`.

    Raises
    ------
    ConfigError
        If the prefactor is unknown, the gap is no share or there are no draws.
    """
    if m < 1:
        raise ConfigError(f"tasks.g_and_k.options.m: {m} draws a sim are too few; take 1 or more.")
    if prefactor not in PREFACTORS:
        raise ConfigError(
            f"tasks.g_and_k.options.prefactor: '{prefactor}' is unknown; name one of "
            f"{', '.join(PREFACTORS)}."
        )
    if not 0 <= gap <= 1:
        raise ConfigError(
            f"tasks.g_and_k.options.gap: {gap} is no share; give a number from 0, exact, to 1, the "
            "expansion."
        )
    factor = PREFACTORS[prefactor]
    return {"taylor": GAndK(m, factor, gap), "exact": GAndK(m, factor, 0.0)}


def expand(u: np.ndarray, prefactor: float) -> np.ndarray:
    """Return the third-order expansion of the normal quantile function at u, any shape."""
    v = 2 * u - 1
    return np.sqrt(2) * prefactor * (v + np.pi / 12 * v**3)


def from_normal(theta: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Map standard normals, shape (n, m), to g-and-k draws, shape (n, m), theta (n, 4)."""
    location, scale, skewness, kurtosis = theta.T[:, :, None]
    skewed = 1 + SKEWNESS * np.tanh(skewness * z / 2)
    return location + scale * skewed * (1 + z**2) ** np.log(kurtosis) * z


def summarise(x: np.ndarray) -> np.ndarray:
    """Return the octile summaries of draws, shape (n, m): location, scale, skewness, kurtosis."""
    return combine_octiles(np.moveaxis(np.quantile(x, OCTILES, axis=1), 0, 1))


def combine_octiles(octiles: np.ndarray) -> np.ndarray:
    """Combine octiles E_1 to E_7, shape (..., 7), to four summaries, shape (..., 4).

    These are E_4, E_6 - E_2, (E_6 + E_2 - 2 E_4) / (E_6 - E_2) and
    (E_7 - E_5 + E_3 - E_1) / (E_6 - E_2).
    """
    e1, e2, e3, e4, e5, e6, e7 = np.moveaxis(octiles, -1, 0)
    spread = e6 - e2
    return np.stack([e4, spread, (e6 + e2 - 2 * e4) / spread, (e7 - e5 + e3 - e1) / spread], -1)


def log_slope(theta: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return log dx/dz at standard normals z, shape (n, m), theta (n, 4)."""
    _, scale, skewness, kurtosis = theta.T[:, :, None]
    power, tanh = np.log(kurtosis), np.tanh(skewness * z / 2)
    # d/dz of (1 + 0.8 tanh) and of (1 + z^2)^power z, both over (1 + z^2)^(power - 1)
    skewed = SKEWNESS * skewness / 2 * (1 - tanh**2) * z * (1 + z**2)
    tailed = (1 + SKEWNESS * tanh) * (1 + (1 + 2 * power) * z**2)
    return np.log(scale) + (power - 1) * np.log1p(z**2) + np.log(skewed + tailed)


def log_density_at_quantiles(theta: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the quantiles of one exact draw and its log density there.

    Parameters
    ----------
    theta
        Shape (n, 4).
    u
        Probabilities, shape (m,).

    Returns
    -------
    tuple
        x = Q(u) and log p(x | theta) = log phi(z) - log dx/dz, both of shape (n, m).
    """
    z = np.broadcast_to(ndtri(u), (len(theta), len(u)))
    return from_normal(theta, z), log_normal(z) - log_slope(theta, z)


def log_density(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return log p(x | theta) of one exact draw, shape (n, m), at any x.

    Parameters
    ----------
    theta
        Shape (n, 4).
    x
        Shape (m,) or (n, m).
    """
    x = np.broadcast_to(x, (len(theta), x.shape[-1]))
    z = to_normal(theta, x)
    return log_normal(z) - log_slope(theta, z)


def to_normal(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Invert `from_normal` for draws x, shape (n, m): a table, then Newton's method."""
    nodes = np.sinh(np.linspace(-TABLE_END, TABLE_END, TABLE_SIZE))
    standard = theta * [0, 0, 1, 1] + [0, 1, 0, 0]
    table = np.arcsinh(from_normal(standard, np.broadcast_to(nodes, (len(theta), len(nodes)))))
    wanted = (x - theta[:, :1]) / theta[:, 1:2]
    # asinh z is nearly linear in asinh x
    z = np.sinh(
        [
            np.interp(row, known, np.arcsinh(nodes))
            for row, known in zip(np.arcsinh(wanted), table, strict=True)
        ]
    )
    for _ in range(NEWTON_STEPS):
        z = z - (from_normal(standard, z) - wanted) * np.exp(-log_slope(standard, z))
    return z


def log_normal(z: np.ndarray) -> np.ndarray:
    """Return the log density of a standard normal, any shape."""
    return -(z**2 + np.log(2 * np.pi)) / 2


class ExactPosterior:
    """Sampler of the posterior given the four octile summaries of m exact draws.

    In the coordinates w = ((E_4 - theta_1) / theta_2, log((E_6 - E_2) / theta_2),
    artanh(skewness), log(kurtosis)) the law of the summaries depends on theta_3 and theta_4 alone,
    and for large m it is normal. Its moments are interpolated to a grid of cells in
    (theta_3, theta_4); given a cell, theta_1 and theta_2 follow in closed form.

    Parameters
    ----------
    m
        Draws a sim.
    """

    # ASSUME normal w: at m = 1000 its skewness and excess kurtosis are below 0.4 in the whole
    # prior, and mostly below 0.1

    def __init__(self, m: int) -> None:
        self.m = m
        self.bounds = Prior(PARAMETERS).bounds
        axes, widths = zip(
            *(cells(*axis) for axis in zip(self.bounds[2:], N_CELLS, strict=True)), strict=True
        )
        self.grid, self.widths = _product(axes), np.array(widths)

    @cached_property
    def law(self) -> tuple[np.ndarray, ...]:
        """Regression of (w_1, w_2) on (w_3, w_4) in every cell.

        Mean of w, shape (n_cells, 4); inverse covariance of (w_3, w_4), slope and covariance of
        the residual, (n_cells, 2, 2).
        """
        ends = zip(self.bounds[2:], N_NODES, strict=True)
        nodes = [np.linspace(low, high, n) for (low, high), n in ends]
        moments = octile_moments(_product(nodes), self.m).reshape(*N_NODES, 5, 4)
        moments = RegularGridInterpolator(nodes, moments, method="cubic")(self.grid)
        mean, covariance = moments[:, 0], moments[:, 1:]
        precision = np.linalg.inv(covariance[:, 2:, 2:])
        slope = covariance[:, :2, 2:] @ precision
        return mean, precision, slope, covariance[:, :2, :2] - slope @ covariance[:, 2:, :2]

    def sample(self, x: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Return samples, shape (n, n_samples, 4), given summaries x, shape (n, 4)."""
        blocks = np.split(x, range(BLOCK, len(x), BLOCK))
        return np.concatenate([self._sample_block(block, n_samples, rng) for block in blocks])

    def _sample_block(self, x: np.ndarray, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        log_mass, centre = self._grid_posterior(x)
        cumulative = np.exp(log_mass - log_mass.max(1, keepdims=True)).cumsum(1)
        factor = np.linalg.cholesky(self.law[-1])

        def propose(targets: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
            cell = draw_cells(cumulative[targets], n, rng)
            noise = rng.standard_normal((*cell.shape, 2, 1))
            w = centre[targets[:, None], cell] + (factor[cell] @ noise)[..., 0]
            theta_2 = x[targets, None, 1] * np.exp(-w[..., 1])
            theta_1 = x[targets, None, 0] - theta_2 * w[..., 0]
            shape = self.grid[cell] + self.widths * (rng.random((*cell.shape, 2)) - 0.5)
            theta = np.concatenate([theta_1[..., None], theta_2[..., None], shape], axis=-1)
            low, high = self.bounds.T
            return theta, ((theta >= low) & (theta <= high)).all(-1)

        return first_accepted(propose, len(x), n_samples)

    def _grid_posterior(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the log mass of each cell, (n, n_cells), and the mean of (w_1, w_2) in it."""
        mean, precision, slope, rest = self.law
        observed = np.stack([np.arctanh(x[:, 2]), np.log(x[:, 3])], axis=1)
        residual = observed[:, None] - mean[:, 2:]
        centre = mean[:, :2] + (slope @ residual[..., None])[..., 0]
        squares = (residual * (precision @ residual[..., None])[..., 0]).sum(-1)
        log_mass = (np.linalg.slogdet(precision)[1] - squares) / 2
        # uniform theta_1 and theta_2 give w a prior ~ exp(-w_2), which tilts the normal
        log_mass += rest[:, 1, 1] / 2 - centre[..., 1]
        return log_mass, centre - rest[:, 1]


def _product(axes: Sequence[np.ndarray]) -> np.ndarray:
    """Return all combinations of two axes, shape (n, 2), the second one fastest."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def octile_moments(shape: np.ndarray, m: int) -> np.ndarray:
    """Return mean and covariance of the coordinates w of `ExactPosterior`, shape (n, 5, 4).

    Parameters
    ----------
    shape
        theta_3 and theta_4, shape (n, 2).
    m
        Draws a sim.
    """
    u, above = octile_neighbours(m)
    theta = np.concatenate([np.zeros((len(shape), 1)), np.ones((len(shape), 1)), shape], axis=1)
    moments = []
    for row in theta:
        x = from_normal(row[None], ndtri(u).reshape(1, -1)).reshape(u.shape)
        s = combine_octiles(x[..., 0] + above * (x[..., 1] - x[..., 0]))
        w = np.stack([s[:, 0], np.log(s[:, 1]), np.arctanh(s[:, 2]), np.log(s[:, 3])])
        moments.append([w.mean(1), *np.cov(w)])
    return np.array(moments)


def octile_neighbours(m: int) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of the order statistics of m uniforms between which the octiles lie.

    Returns
    -------
    tuple
        Those below and above each octile, shape (N_QUADRATURE, 7, 2), and how far on the way
        between them it is, shape (7,).
    """
    position = (m - 1) * OCTILES
    below = np.floor(position).astype(int)
    ranks = np.unique([below, below + 1])
    # spacings of uniform order statistics are gamma variates over their sum; these are the nodes
    # of an integral, always the same ones
    gaps = np.diff([0, *(ranks + 1), m + 1])
    spacings = np.random.default_rng(0).gamma(gaps, size=(N_QUADRATURE, len(gaps)))
    u = spacings.cumsum(1)[:, :-1] / spacings.sum(1, keepdims=True)
    pairs = np.searchsorted(ranks, np.stack([below, below + 1], axis=1))
    return u[:, pairs], position - below
