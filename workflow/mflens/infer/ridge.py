"""Ridge regression whose penalty and residuals come from leave-one-out cross-validation."""

from dataclasses import dataclass

import numpy as np

# penalties in units of the number of sims; the last one leaves the offset alone
PENALTIES = np.append(10.0 ** np.arange(-5, 4.1, 1 / 3), np.inf)


@dataclass(frozen=True)
class Ridge:
    """A fitted ridge regression, prediction = x @ weight + offset.

    Parameters
    ----------
    weight
        Shape (feature, output).
    offset
        Shape (output,).
    residual
        Leave-one-out residuals of the training sims, shape (n, output).
    penalty
        Penalty over number of sims, the one with the least leave-one-out error.
    """

    weight: np.ndarray
    offset: np.ndarray
    residual: np.ndarray
    penalty: float

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Predict outputs, shape (m, output), at features of shape (m, feature)."""
        return x @ self.weight + self.offset


def fit_ridge(x: np.ndarray, y: np.ndarray, penalties: np.ndarray = PENALTIES) -> Ridge:
    """Fit a ridge regression with a free offset.

    Parameters
    ----------
    x
        Features of comparable size, shape (n, feature).
    y
        Targets, shape (n, output); they share one penalty.
    penalties
        Candidates, in units of n; infinity means the offset alone.
    """
    n = len(x)
    centre_x, centre_y = x.mean(0), y.mean(0)
    u, s, vt = np.linalg.svd(x - centre_x, full_matrices=False)
    projected = u.T @ (y - centre_y)
    best: Ridge | None = None
    for penalty in penalties:
        shrink = s**2 / (s**2 + n * penalty + 1e-12 * s[0] ** 2 + 1e-300)
        # leave-one-out residuals in closed form: residual over one minus leverage
        leverage = 1 / n + (u**2) @ shrink
        residual = y - centre_y - u @ (shrink[:, None] * projected)
        residual = residual / np.maximum(1 - leverage, 1e-9)[:, None]
        if best is None or (residual**2).mean() < (best.residual**2).mean():
            weight = vt.T @ ((shrink / np.maximum(s, 1e-300))[:, None] * projected)
            best = Ridge(weight, centre_y - centre_x @ weight, residual, float(penalty))
    assert best is not None
    return best
