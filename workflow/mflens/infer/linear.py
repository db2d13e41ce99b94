"""Linear baselines: ridge regressions of y on the spectra with a Gaussian posterior."""

import torch
from torch import Tensor

from mflens.infer.posterior import LinearGaussian
from mflens.ridge import fit_ridge, residual_covariance


def fit_linear_high(x_high: Tensor, y_high: Tensor) -> LinearGaussian:
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
    ridge = fit_ridge(model.features(x_high), y_high, shared=True)
    return _finish(model, ridge.weight, ridge.offset, ridge.residual)


def fit_linear(x_bulk: Tensor, y_bulk: Tensor, x_high: Tensor, y_high: Tensor) -> LinearGaussian:
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
    compressor = fit_ridge(model.features(x_bulk), y_bulk, shared=True)
    t = compressor.predict(model.features(x_high))
    change = fit_ridge(t, y_high - t, shared=True)
    slope = torch.eye(t.shape[1]).to(t) + change.weight
    return _finish(
        model, compressor.weight @ slope, compressor.offset @ slope + change.offset, change.residual
    )


def _finish(
    model: LinearGaussian, weight: Tensor, offset: Tensor, residual: Tensor
) -> LinearGaussian:
    model.weight.copy_(weight)
    model.offset.copy_(offset[0])
    model.covariance.copy_(residual_covariance(residual))
    return model.eval()
