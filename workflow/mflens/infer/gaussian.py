"""Linear models: Gaussians whose mean is linear, truncated to the prior where that has bounds."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mflens.ridge import fit_offset, fit_ridge, residual_covariance
from mflens.seeding import new_generator

N_DIRECTIONS, N_PROPOSALS = 128, 1024  # of the GHK simulator, for masses and for samples

Arguments = dict[str, Any]
Sims = tuple[Tensor, Tensor]


class LinearDensity:
    """A Gaussian whose mean is linear in the context.

    Parameters
    ----------
    weight
        Shape (repetition, c, d).
    offset
        Shape (repetition, 1, d).
    covariance
        Shape (repetition, d, d).
    bounded
        Whether the target is y, whose unit-cube coordinates u = Phi(y) are what is Gaussian,
        truncated to the cube: linear in parameters with a uniform prior.
    """

    kind = "linear"

    def __init__(
        self, weight: Tensor, offset: Tensor, covariance: Tensor, *, bounded: bool
    ) -> None:
        self.tensors = {"weight": weight, "offset": offset, "covariance": covariance}
        self.bounded = bounded
        self.root = torch.linalg.cholesky(covariance.double())
        self._known: tuple[Tensor, Tensor] | None = None

    def mean(self, context: Tensor) -> Tensor:
        """Return the mean, shape (repetition, n, d), in double precision."""
        return context.double() @ self.tensors["weight"] + self.tensors["offset"]

    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        """Return log q, shape (repetition, n)."""
        mean, value = self.mean(context), target.double()
        if self.bounded:
            value = torch.special.ndtr(value)
        root = self.root[:, None].expand(*mean.shape, -1)
        normal = torch.distributions.MultivariateNormal(mean, scale_tril=root)
        log_q = normal.log_prob(value)
        if self.bounded:
            slope = -(target.double().square() + math.log(2 * math.pi)).sum(-1) / 2
            log_q = log_q + slope - self._log_mass(context)
        return log_q.float()

    def _log_mass(self, context: Tensor) -> Tensor:
        """Return the log mass of the cube, computed once for contexts that are asked for again."""
        if self._known is None or self._known[0] is not context:
            self._known = context, log_box_mass(self.mean(context), self.root)[0]
        return self._known[1]

    def sample(self, n_samples: int, context: Tensor, generator: torch.Generator) -> Tensor:
        """Draw targets, shape (sample, repetition, n, d)."""
        mean = self.mean(context)
        if not self.bounded:
            z = torch.randn(n_samples, *mean.shape, generator=generator).double()
            return (mean + (self.root[:, None] @ z[..., None])[..., 0]).float()
        _, weight, u = log_box_mass(mean, self.root, N_PROPOSALS, generator)
        cumulative = torch.softmax(weight, 0).cumsum(0)
        level = torch.rand(n_samples, *mean.shape[:2], generator=generator).double()
        level = level * cumulative[-1]
        index = torch.searchsorted(
            cumulative.movedim(0, -1).contiguous(), level.movedim(0, -1).contiguous()
        ).movedim(-1, 0)
        chosen = u.gather(0, index[..., None].expand(*index.shape, u.shape[-1]))
        return torch.special.ndtri(chosen.clamp(1e-12, 1 - 1e-12)).float()

    def to_state(self) -> tuple[dict[str, Any], Arguments]:
        """Return tensors and arguments."""
        return self.tensors, {"bounded": self.bounded}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], arguments: Arguments) -> "LinearDensity":
        """Rebuild what `to_state` took apart."""
        return cls(**state, bounded=arguments["bounded"])


def log_box_mass(
    mean: Tensor,
    root: Tensor,
    n: int = N_DIRECTIONS,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how much of Gaussians lies in the unit cube, by the GHK simulator.

    Coordinates are drawn one after the other inside their bounds; the product of the masses of
    the intervals is the importance weight (Geweke 1991, Keane 1994). In one dimension it is exact.

    Parameters
    ----------
    mean
        Shape (repetition, n, d).
    root
        Cholesky factors of the covariances, shape (repetition, d, d).
    n
        Number of draws.
    generator
        Random numbers; without one, always the same.

    Returns
    -------
    log_mass
        Shape (repetition, n).
    log_weight
        Of every draw, shape (draw, repetition, n).
    u
        The draws, shape (draw, repetition, n, d).
    """
    generator = generator or new_generator(0)
    uniform = torch.rand(n, *mean.shape, generator=generator).double()
    log_weight = uniform.new_zeros(uniform.shape[:-1])
    z = uniform.new_zeros(uniform.shape)
    for j in range(mean.shape[-1]):
        known = (z * root[:, None, j]).sum(-1) + mean[..., j]
        scale = root[:, j, j][:, None]
        low, high = -known / scale, (1 - known) / scale
        mass, drawn = between(low, high, uniform[..., j])
        log_weight = log_weight + mass.clamp(1e-300).log()
        z[..., j] = drawn
    u = mean + (root[:, None] @ z[..., None])[..., 0]
    return log_weight.logsumexp(0) - math.log(n), log_weight, u.clamp(0, 1)


def between(low: Tensor, high: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mass of a standard normal between bounds, and its quantiles in there."""
    # in the upper tail the mirror image keeps its digits
    flip = low > 0
    near, far = torch.where(flip, -high, low), torch.where(flip, -low, high)
    cdf = lower_tail(near)
    mass = lower_tail(far) - cdf
    drawn = torch.special.ndtri((cdf + uniform * mass).clamp(1e-300, 1 - 1e-16))
    drawn = drawn.clamp(near, far)
    return mass, torch.where(flip, -drawn, drawn)


def lower_tail(x: Tensor) -> Tensor:
    """Return the standard normal's mass below x; torch's own ndtr is zero below -8.3."""
    return torch.special.erfc(-x / math.sqrt(2)) / 2


def fit_linear(estimator: str, bulk: Sims, high: Sims, kind: str) -> LinearDensity:
    """Fit a ridge regression with Gaussian residuals.

    Parameters
    ----------
    estimator
        NPE or NLE.
    bulk, high
        Observables and parameters of the cheapest and of the highest tier.
    kind
        `high`: on the highest tier alone; `affine`, `offset`: on the bulk, with an affine map or
        only an offset fitted to the highest tier.
    """
    context, target = roles(estimator, *high)
    if kind == "high":
        change = fit_ridge(context, target, shared=True)
        weight, offset = change.weight, change.offset
    else:
        base = fit_ridge(*roles(estimator, *bulk), shared=True)
        predicted = base.predict(context.double())
        error = target - predicted
        change = fit_ridge(predicted, error, shared=True) if kind == "affine" else fit_offset(error)
        matrix = torch.eye(target.shape[-1], dtype=torch.float64) + change.weight
        weight, offset = base.weight @ matrix, base.offset @ matrix + change.offset
    covariance = residual_covariance(change.residual)
    return LinearDensity(weight, offset, covariance, bounded=estimator == "NPE")


def roles(estimator: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return context and target of a linear model: u = Phi(y) given x, or x given y."""
    return (x, torch.special.ndtr(y.double())) if estimator == "NPE" else (y, x)
