"""Exact samples of many targets at once: grids, truncated normals, rejection."""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr, ndtri

from mflens.errors import DataError

MAX_ROUNDS = 12  # each asks for twice as many proposals as the one before


def first_accepted(
    propose: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]],
    n: int,
    n_samples: int,
) -> np.ndarray:
    """Return the first accepted proposals of every target.

    Parameters
    ----------
    propose
        Maps the indices of targets, shape (k,), and a number of proposals to the proposals, shape
        (k, n_proposals, d), and to whether they are accepted, (k, n_proposals).
    n
        Number of targets.
    n_samples
        Samples wanted of each.

    Returns
    -------
    array
        Shape (n, n_samples, d).

    Raises
    ------
    DataError
        If a target accepts next to nothing.
    """
    kept: dict[int, np.ndarray] = {}
    for round_ in range(MAX_ROUNDS):
        missing = np.array([i for i in range(n) if i not in kept], dtype=int)
        if missing.size == 0:
            return np.stack([kept[i] for i in range(n)])
        proposals, accepted = propose(missing, 2 ** (round_ + 1) * n_samples)
        kept |= {
            int(i): points[good][:n_samples]
            for i, points, good in zip(missing, proposals, accepted, strict=True)
            if good.sum() >= n_samples
        }
    raise DataError(
        "an observation is impossible under the prior: nearly all samples of its exact posterior "
        "fall outside; observe parameters drawn from the prior."
    )


def cells(bounds: np.ndarray, n: int) -> tuple[np.ndarray, float]:
    """Return the centres, shape (n,), and the width of n equal cells between two bounds."""
    low, high = bounds
    width = (high - low) / n
    return low + width * (np.arange(n) + 0.5), width


def draw_cells(cumulative: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw cells of grids with the given cumulative masses.

    Parameters
    ----------
    cumulative
        Shape (k, n_cells); the last entry need not be 1.
    n
        Draws for each grid.
    rng
        Draws them.

    Returns
    -------
    array
        Indices of cells, shape (k, n).
    """
    levels = cumulative[:, -1:] * rng.random((len(cumulative), n))
    return np.stack([np.searchsorted(c, u) for c, u in zip(cumulative, levels, strict=True)])


def normal_mass(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the mass of a standard normal between two bounds, any shape."""
    # differences of the nearer tail keep their digits
    flip = low > 0
    return ndtr(np.where(flip, -low, high)) - ndtr(np.where(flip, -high, low))


def truncated_normal(low: np.ndarray, high: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw standard normals between bounds of any shape."""
    flip = low > 0
    near, far = np.where(flip, -high, low), np.where(flip, -low, high)
    z = ndtri(ndtr(near) + rng.random(low.shape) * (ndtr(far) - ndtr(near)))
    return np.where(flip, -z, z)
