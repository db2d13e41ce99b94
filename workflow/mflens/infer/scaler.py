"""The scaler of observables: fitted once, on the bulk training set, and kept with the model."""

from dataclasses import dataclass

import torch
from torch import Tensor

QUARTILES_PER_SD = 1.349  # of a normal distribution


@dataclass(frozen=True)
class Scaler:
    """Standardise observables, pull in their tails and keep their principal components.

    z = asinh((x - centre) / spread) @ rotation, in every repetition on its own.

    Parameters
    ----------
    centre, spread
        Median and normalised interquartile range, shape (repetition, 1, feature).
    rotation
        Shape (repetition, feature, summary); empty for none.
    """

    centre: Tensor
    spread: Tensor
    rotation: Tensor

    @classmethod
    def fit(cls, x: Tensor, n_summaries: int) -> "Scaler":
        """Fit a scaler to x, shape (repetition, n, feature), with components or none (0)."""
        low, centre, high = (x.quantile(q, dim=1, keepdim=True) for q in (0.25, 0.5, 0.75))
        spread = (high - low) / QUARTILES_PER_SD + 1e-12
        scaler = cls(centre, spread, x.new_zeros(len(x), 0, 0))
        if n_summaries == 0:
            return scaler
        z = scaler.transform(x)
        _, s, vt = torch.linalg.svd(z - z.mean(1, keepdim=True), full_matrices=False)
        scale = z.shape[1] ** 0.5 / s[:, None, :n_summaries]
        return cls(centre, spread, vt[:, :n_summaries].mT * scale)

    def transform(self, x: Tensor) -> Tensor:
        """Standardise x of shape (..., repetition, n, feature)."""
        z = torch.asinh((x - self.centre) / self.spread)
        return z @ self.rotation if self.rotation.numel() else z

    def inverse(self, z: Tensor) -> Tensor:
        """Return x of standardised z, where there is no rotation."""
        return torch.sinh(z) * self.spread + self.centre

    def log_slope(self, x: Tensor) -> Tensor:
        """Return log |dz/dx|, summed over features, shape (..., repetition, n)."""
        z = (x - self.centre) / self.spread
        return -(self.spread.log() + torch.log1p(z**2) / 2).sum(-1)
