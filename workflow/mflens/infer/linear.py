"""Linear baselines: ridge regressions of y on the spectra with a Gaussian posterior."""

import numpy as np
import torch

from mflens.errors import ConfigError
from mflens.infer.posterior import LinearGaussian
from mflens.infer.ridge import fit_ridge


def fit_linear_high(x_high: np.ndarray, y_high: np.ndarray) -> LinearGaussian:
    """Regress y on the spectra of the high-fidelity sims alone.

    Parameters
    ----------
    x_high
        Spectra, shape (n_high, feature).
    y_high
        Normalised parameters, shape (n_high, parameter).
    """
    model = LinearGaussian(n_features=x_high.shape[1], n_parameters=y_high.shape[1])
    model.fit_scaler(x_high)
    ridge = fit_ridge(model.features(torch.as_tensor(x_high)).numpy(), y_high)
    return _finish(model, ridge.weight, ridge.offset, ridge.residual)


def fit_linear(
    x_bulk: np.ndarray, y_bulk: np.ndarray, x_high: np.ndarray, y_high: np.ndarray
) -> LinearGaussian:
    """Compress by a regression on the bulk, then map affinely on the high-fidelity sims.

    The affine map y = A t + b is shrunk towards A = 1: with few sims only the offset is left.

    Parameters
    ----------
    x_bulk, x_high
        Spectra, shape (n, feature).
    y_bulk, y_high
        Normalised parameters, shape (n, parameter).
    """
    model = LinearGaussian(n_features=x_bulk.shape[1], n_parameters=y_bulk.shape[1])
    model.fit_scaler(x_bulk)
    compressor = fit_ridge(model.features(torch.as_tensor(x_bulk)).numpy(), y_bulk)
    t = compressor.predict(model.features(torch.as_tensor(x_high)).numpy())
    change = fit_ridge(t, y_high - t)
    slope = np.eye(t.shape[1]) + change.weight
    return _finish(
        model, compressor.weight @ slope, compressor.offset @ slope + change.offset, change.residual
    )


def residual_covariance(residual: np.ndarray) -> np.ndarray:
    """Return the covariance of leave-one-out residuals, widened for their small number.

    A Gaussian with the plain estimate S/n scores worst when n is small; n/(n - d - 1) makes its
    mean inverse unbiased.

    Parameters
    ----------
    residual
        Shape (n, d).

    Raises
    ------
    ConfigError
        If n is below d + 3.
    """
    n, d = residual.shape
    if n < d + 3:
        raise ConfigError(
            f"{n} high-fidelity sims cannot give the covariance of {d} parameters; "
            f"set every infer.n_high to at least {d + 3}."
        )
    return residual.T @ residual / (n - d - 1)


def _finish(
    model: LinearGaussian, weight: np.ndarray, offset: np.ndarray, residual: np.ndarray
) -> LinearGaussian:
    model.weight.copy_(torch.as_tensor(weight))
    model.offset.copy_(torch.as_tensor(offset))
    model.covariance.copy_(torch.as_tensor(residual_covariance(residual)))
    return model.eval()
