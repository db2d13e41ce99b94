"""Translation of cheap observables to the next tier, learned from pairs.

x_high = x_low + W phi(x_low, y) + eps, a regression on linear and, where they predict left-out
pairs better, quadratic features, with noise whose size depends on the same features. All is ridge
regression with leave-one-out penalties, which keeps it sane for a handful of pairs. All tensors
may have leading axes of replicas.
"""

from dataclasses import dataclass

import torch
from scipy import special
from torch import Tensor

from mflens.infer.losses import Pairs
from mflens.ridge import Ridge, fit_ridge

LOG_CHI_SQUARE = -1.27  # mean of log chi^2 with one degree of freedom
MAX_LOG_RATIO = 4.0  # of a noise variance to its mean
N_QUANTILES = 4096
LEAST_FREEDOM = 3


@dataclass(frozen=True)
class Translation:
    """One step up the ladder.

    Parameters
    ----------
    change
        Regression of x_high - x_low on quadratic features.
    variance
        Regression of the log variance of the noise on linear features.
    mean_log_variance
        Shape (..., 1, feature).
    root
        Cholesky factor of the covariance of standardised noise, shape (..., feature, feature).
    scales
        Draws of the noise's scale, a table of quantiles: with n pairs the noise is known no better
        than a Student t distribution says.
    """

    change: Ridge
    variance: Ridge
    mean_log_variance: Tensor
    root: Tensor
    scales: Tensor

    def mean(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean of the upper tier's observables, shape (..., n, feature)."""
        return x + self.change.predict(quadratic(linear(x, y)))

    def noise_sd(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the standard deviation that standardised noise is multiplied by."""
        mean = self.mean_log_variance.to(x)
        ratio = self.variance.predict(linear(x, y)) - mean
        return torch.exp((mean + ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)) / 2)

    def noise(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Draw eps for lower observables x at y, shape (..., n, feature)."""
        normal = torch.randn(x.shape, generator=generator).to(x)
        index = torch.randint(len(self.scales), (*x.shape[:-1], 1), generator=generator)
        scale = self.scales.to(x)[index.to(x.device)]
        return normal @ self.root.mT.to(x) * scale * self.noise_sd(x, y)

    def draw(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Draw observables of the upper tier."""
        return self.mean(x, y) + self.noise(x, y, generator)


def linear(x: Tensor, y: Tensor) -> Tensor:
    """Return observables and parameters as features, shape (..., n, feature).

    Parameters enter as u = Phi(y), in the unit of its standard deviation: simulators depend on
    them more simply than on y, whose tails stretch the ends of a uniform prior.
    """
    return torch.cat([x, (torch.special.ndtr(y) - 0.5) * 12**0.5], dim=-1)


def quadratic(z: Tensor) -> Tensor:
    """Return features and the products of two of them, shape (..., n, feature)."""
    i, j = torch.triu_indices(z.shape[-1], z.shape[-1])
    return torch.cat([z, z[..., i] * z[..., j]], dim=-1)


def fit_translation(pairs: Pairs) -> tuple[Translation, Tensor]:
    """Learn a translation from pairs.

    Returns
    -------
    Translation
        Fitted on all pairs.
    Tensor
        For every pair the mean translation predicted without that pair, (..., n, feature).
    """
    features = linear(pairs.low, pairs.y)
    change = fit_change(features, pairs.high - pairs.low)
    residual = change.residual
    # the square of a normal number has a log of mean LOG_CHI_SQUARE
    floor = 1e-4 * residual.square().mean(-2, keepdim=True) + 1e-12
    log_variance = torch.log(residual**2 + floor) - LOG_CHI_SQUARE
    translation = Translation(
        change,
        fit_ridge(features, log_variance),
        log_variance.mean(-2, keepdim=True),
        torch.eye(residual.shape[-1], dtype=torch.float64),
        noise_scales(len(pairs)),
    )
    standard = residual / translation.noise_sd(pairs.low.double(), pairs.y.double())
    root = torch.linalg.cholesky(shrunk_covariance(standard))
    predicted = pairs.high - residual.to(pairs.high)
    return Translation(**{**vars(translation), "root": root}), predicted


def fit_change(features: Tensor, change: Tensor) -> Ridge:
    """Regress on quadratic features, or on linear ones where left-out pairs say so."""
    n_linear = features.shape[-1]
    rich, plain = fit_ridge(quadratic(features), change), fit_ridge(features, change)
    better = (plain.residual.square().mean(-2) < rich.residual.square().mean(-2))[..., None, :]
    n_products = rich.weight.shape[-2] - n_linear
    padded = torch.nn.functional.pad(plain.weight, (0, 0, 0, n_products))
    return Ridge(
        torch.where(better, padded, rich.weight),
        torch.where(better, plain.offset, rich.offset),
        torch.where(better, plain.residual, rich.residual),
    )


def noise_scales(n_pairs: int) -> Tensor:
    """Return quantiles of sqrt(nu / chi^2_nu), the scale of Student t noise after n pairs."""
    freedom = max(n_pairs - 1, LEAST_FREEDOM)
    u = (torch.arange(N_QUANTILES, dtype=torch.float64) + 0.5) / N_QUANTILES
    return torch.as_tensor((0.5 * freedom / special.gammaincinv(freedom / 2, u.numpy())) ** 0.5)


def shrunk_covariance(residual: Tensor) -> Tensor:
    """Return the covariance of residuals (..., n, d), shrunk to its diagonal when n is small."""
    n, d = residual.shape[-2:]
    covariance = residual.mT @ residual / n
    diagonal = torch.diag_embed(torch.diagonal(covariance, dim1=-2, dim2=-1) + 1e-12)
    share = d / (n + d)
    return (1 - share) * covariance + share * diagonal


def translate(x: Tensor, y: Tensor, steps: list[Translation], generator: torch.Generator) -> Tensor:
    """Carry observables up the ladder with fresh noise at every step."""
    for step in steps:
        x = step.draw(x, y, generator)
    return x


def freshen(t: Tensor, y: Tensor, t_fresh: Tensor, y_fresh: Tensor) -> Tensor:
    """Give summaries of the compressor's training sims the scatter of those of fresh sims.

    A compressor knows its training sims too well: their summaries follow y more closely than
    those of other sims do, and a flow trained on them is overconfident. Here mean and covariance
    of t at given y are made those of fresh sims.

    Parameters
    ----------
    t, y
        Summaries, shape (n, summary), and parameters, shape (n, parameter), of training sims.
    t_fresh, y_fresh
        The same of sims of the same tier that the compressor was not trained on.
    """
    # ASSUME the scatter of summaries about their mean at given y does not depend on y
    x, x_fresh = cubic_features(y), cubic_features(y_fresh)
    old = fit_ridge(x, t, shared=True)
    new = fit_ridge(x_fresh, t_fresh - old.predict(x_fresh), shared=True)
    root_old = torch.linalg.cholesky(shrunk_covariance(old.residual))
    root_new = torch.linalg.cholesky(shrunk_covariance(new.residual))
    scatter = t - old.predict(x)
    fresh = old.predict(x) + new.predict(x) + scatter @ (root_new @ torch.linalg.inv(root_old)).mT
    return fresh.to(t)


def cubic_features(y: Tensor) -> Tensor:
    """Return y, all products of two of its entries and its cubes, shape (n, feature)."""
    return torch.cat([quadratic(y.double()), y.double() ** 3], dim=-1)
