"""Translation of low-fidelity summaries to the next tier, learned from pairs.

t_high = t_low + offset + W [t_low, y] + eps, with eps Gaussian. Ridge regression with a
leave-one-out penalty, which shrinks W, keeps it sane for a handful of pairs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mflens.infer.ridge import fit_ridge


@dataclass(frozen=True)
class Translation:
    """One step up the ladder, in summary space.

    Parameters
    ----------
    weight
        Shape (summary + parameter, summary).
    offset
        Shape (summary,).
    root
        Cholesky factor of the covariance of eps, shape (summary, summary).
    """

    weight: Tensor
    offset: Tensor
    root: Tensor

    def mean(self, t: Tensor, y: Tensor) -> Tensor:
        """Return the mean of the upper tier's summaries, shape (n, summary)."""
        return t + torch.cat([t, y], dim=-1) @ self.weight + self.offset

    def noise(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw eps, shape (n, summary)."""
        normal = torch.randn(n, len(self.root), generator=generator)
        return normal.to(self.root) @ self.root.T


def fit_translation(low: Tensor, high: Tensor, y: Tensor) -> tuple[Translation, Tensor]:
    """Learn a translation from pairs.

    Parameters
    ----------
    low, high
        Summaries of both members, shape (n, summary).
    y
        Normalised parameters, shape (n, parameter).

    Returns
    -------
    Translation
        Fitted on all pairs.
    Tensor
        For every pair the mean translated summaries predicted without that pair, (n, summary).
    """
    features = torch.cat([low, y], dim=-1).double().cpu().numpy()
    change = (high - low).double().cpu().numpy()
    centre, spread = features.mean(0), features.std(0) + 1e-12
    standard = (features - centre) / spread
    # every summary has a penalty of its own: some need only an offset
    fits = [fit_ridge(standard, change[:, [i]]) for i in range(change.shape[1])]
    weight = np.concatenate([fit.weight for fit in fits], axis=1) / spread[:, None]
    offset = np.concatenate([fit.offset for fit in fits]) - centre @ weight
    residual = np.concatenate([fit.residual for fit in fits], axis=1)
    root = np.linalg.cholesky(shrunk_covariance(residual))
    arrays = (
        torch.as_tensor(a, dtype=low.dtype, device=low.device) for a in (weight, offset, root)
    )
    predicted = high - torch.as_tensor(residual, dtype=low.dtype, device=low.device)
    return Translation(*arrays), predicted


def shrunk_covariance(residual: np.ndarray) -> np.ndarray:
    """Return the covariance of residuals, shape (n, d), shrunk to its diagonal when n is small."""
    n, d = residual.shape
    covariance = residual.T @ residual / n
    diagonal = np.diag(np.diag(covariance) + 1e-12)
    share = d / (n + d)
    return (1 - share) * covariance + share * diagonal


def translate(t: Tensor, y: Tensor, steps: list[Translation], generator: torch.Generator) -> Tensor:
    """Carry summaries up the ladder with fresh residuals at every step."""
    for step in steps:
        t = step.mean(t, y) + step.noise(len(t), generator)
    return t


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
    old = fit_ridge(x, t.double().cpu().numpy())
    residual = t_fresh.double().cpu().numpy() - old.predict(x_fresh)
    new = fit_ridge(x_fresh, residual)
    root_old = np.linalg.cholesky(shrunk_covariance(old.residual))
    root_new = np.linalg.cholesky(shrunk_covariance(new.residual))
    scatter = t.double().cpu().numpy() - old.predict(x)
    fresh = old.predict(x) + new.predict(x) + scatter @ (root_new @ np.linalg.inv(root_old)).T
    return torch.as_tensor(fresh, dtype=t.dtype, device=t.device)


def cubic_features(y: Tensor) -> np.ndarray:
    """Return y, all products of two of its entries and its cubes, shape (n, feature)."""
    z = y.double().cpu().numpy()
    i, j = np.triu_indices(z.shape[1])
    return np.concatenate([z, z[:, i] * z[:, j], z**3], axis=1)
