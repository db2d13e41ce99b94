"""Ridge regression whose penalty and residuals come from leave-one-out cross-validation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mflens.errors import ConfigError

# penalties in units of the number of sims; the last one leaves the offset alone
PENALTIES = (*(10.0 ** (i / 3) for i in range(-15, 13)), 1e12)
LEVERAGE_ROOM = 1e-6  # a sim that decides its own prediction cannot be left out


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge regression, prediction = x @ weight + offset.

    Parameters
    ----------
    weight
        Shape (..., feature, output).
    offset
        Shape (..., 1, output).
    residual
        Leave-one-out residuals of the training sims, shape (..., n, output).
    """

    weight: Tensor
    offset: Tensor
    residual: Tensor

    def predict(self, x: Tensor) -> Tensor:
        """Predict outputs, shape (..., m, output), at features of shape (..., m, feature)."""
        return x @ self.weight.to(x) + self.offset.to(x)


def fit_ridge(x: Tensor, y: Tensor, *, shared: bool = False) -> Ridge:
    """Fit ridge regressions with a free offset.

    Features are standardised, so that one penalty fits them all.

    Parameters
    ----------
    x
        Features, shape (..., n, feature).
    y
        Targets, shape (..., n, output).
    shared
        Whether the outputs share the penalty, for outputs of one kind; otherwise each has its own.

    Returns
    -------
    Ridge
        In double precision.
    """
    x, y = x.double(), y.double()
    n = x.shape[-2]
    centre_x, centre_y = x.mean(-2, keepdim=True), y.mean(-2, keepdim=True)
    spread = x.std(-2, keepdim=True) + 1e-12
    u, s, vt = torch.linalg.svd((x - centre_x) / spread, full_matrices=False)
    projected = u.mT @ (y - centre_y)
    error = torch.full_like(centre_y, torch.inf)
    weight, residual = torch.zeros_like(vt.mT @ projected), torch.zeros_like(y)
    for penalty in PENALTIES:
        shrink = (s**2 / (s**2 + n * penalty))[..., None]
        # leave-one-out residuals in closed form: residual over one minus leverage
        leverage = 1 / n + u**2 @ shrink
        left_out = (y - centre_y - u @ (shrink * projected)) / (1 - leverage).clamp(LEVERAGE_ROOM)
        new_error = left_out.square().mean(-2, keepdim=True)
        if shared:
            new_error = new_error.mean(-1, keepdim=True).expand_as(new_error)
        new_weight = vt.mT @ (shrink / s.clamp(1e-12)[..., None] * projected)
        better = new_error < error
        error = torch.where(better, new_error, error)
        weight = torch.where(better, new_weight, weight)
        residual = torch.where(better, left_out, residual)
    weight = weight / spread.mT
    return Ridge(weight, centre_y - centre_x @ weight, residual)


def fit_offset(y: Tensor) -> Ridge:
    """Fit an offset alone to targets, shape (..., n, output); the weight is a square of zeros."""
    n, offset = y.shape[-2], y.mean(-2, keepdim=True)
    return Ridge(torch.zeros_like(offset.mT @ offset), offset, (y - offset) * n / (n - 1))


def residual_covariance(residual: Tensor) -> Tensor:
    """Return the covariance of leave-one-out residuals, widened for their small number.

    A Gaussian with the plain estimate S/n scores worst when n is small; n/(n - d - 1) makes its
    mean inverse unbiased.

    Parameters
    ----------
    residual
        Shape (..., n, d).

    Raises
    ------
    ConfigError
        If n is below d + 3.
    """
    n, d = residual.shape[-2:]
    if n < d + 3:
        raise ConfigError(
            f"{n} high-fidelity sims cannot give the covariance of {d} outputs; ask for at least "
            f"{d + 3} (infer.n_high, or the levels of a task's runs)."
        )
    return residual.mT @ residual / (n - d - 1)
