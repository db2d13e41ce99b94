"""Distances between densities and between samples, one for every test sim.

Arrays in, arrays out; the first axis is the test sim. Nothing is dropped: a value that is not
finite raises.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist, pdist
from scipy.special import log_softmax, ndtr, ndtri, softmax

from mflens.errors import DataError

N_FOLDS = 5
# the classifier's random features tanh(a z + b), a ~ N(0, SLOPE^2 / d), b ~ U(-OFFSET, OFFSET), and
# the ridge penalties, over the number of samples, that it may choose from
N_FEATURES, SLOPE, OFFSET = 100, 1.5, 2.0
PENALTIES = 10.0 ** np.arange(-3, 2)
N_BOOTSTRAP = 2000


class PairedComparison(NamedTuple):
    """Mean of paired differences with its 95 % interval.

    Attributes
    ----------
    difference
        Mean over repetitions and test sims.
    low, high
        Bounds of the interval.
    significant
        Whether it leaves out zero.
    """

    difference: float
    low: float
    high: float
    significant: bool


def probability_nodes(n: int) -> np.ndarray:
    """Return the midpoints of n equal parts of the interval from 0 to 1, shape (n,)."""
    return (np.arange(n) + 0.5) / n


def quadrature_nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities at which to evaluate densities, and their weights, both (n,).

    They are the trapezoidal rule in z = Phi^-1(u) from -6 to 6: a few hundred nodes reach into the
    tails, where thousands that are equally spaced in probability miss some hundredths of a nat.
    """
    z = np.linspace(-6, 6, n)
    return ndtr(z), softmax(-(z**2) / 2)


def forward_kl(
    log_p: np.ndarray, log_q: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Return the Kullback-Leibler divergence of p from q on the whole line, in nats, shape (n,).

    Parameters
    ----------
    log_p, log_q
        Log densities at quantiles of p, shape (n, m).
    weights
        Of the quantiles, as `quadrature_nodes` gives them, shape (m,); None stands for quantiles
        that are equally spaced in probability.
    """
    _check_finite(log_p=log_p, log_q=log_q)
    return np.average(log_p - log_q, axis=1, weights=weights)


def forward_kl_window(log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Return the divergence of p from q, both normalised on a uniform grid, in nats, shape (n,).

    This is the published figure: it does not see what q puts outside the grid.

    Parameters
    ----------
    log_p, log_q
        Log densities on the grid, shape (n, m).
    """
    _check_finite(log_p=log_p, log_q=log_q)
    difference = log_softmax(log_p, axis=1) - log_softmax(log_q, axis=1)
    return (softmax(log_p, axis=1) * difference).sum(1)


def mmd_squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the squared maximum mean discrepancy of two samples of scalars, shape (n,).

    The kernel is exp(-d^2 / (2 h^2)) with h^2 half the median squared distance within the
    reference, as in the published code; the estimate is the V-statistic, which is biased upwards
    by about 1 / n_samples.

    Parameters
    ----------
    x
        Reference samples, shape (n, n_samples).
    y
        Other samples, shape (n, n_samples).

    References
    ----------
    arXiv:0805.2368, equation 5
    """
    _check_finite(x=x, y=y)
    return np.array([_mmd_squared(*pair) for pair in zip(x, y, strict=True)])


def _mmd_squared(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x[:, None], y[:, None]
    within_x, within_y = pdist(x, "sqeuclidean"), pdist(y, "sqeuclidean")
    scale = np.median(within_x)
    mean_x, mean_y = (
        # the pairs of a sample with itself have distance 0
        (1 + 2 * np.exp(-within / scale).sum() / len(sample)) / len(sample)
        for sample, within in ((x, within_x), (y, within_y))
    )
    return mean_x + mean_y - 2 * np.exp(-cdist(x, y, "sqeuclidean") / scale).mean()


def c2st(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Return the accuracy of a classifier between two samples, shape (n,): 0.5 if they are equal.

    Samples are mapped to normal scores in every dimension and whitened, which changes nothing
    about how well they can be told apart. The classifier is a ridge regression of the label on z,
    its squares and products and random features tanh(a z + b), with the penalty that generalised
    cross-validation chooses; its accuracy is measured by five-fold cross-validation.

    Parameters
    ----------
    x, y
        Shape (n, n_samples, d), equally many samples of both.
    seed
        Of features and folds, the same for all test sims.

    References
    ----------
    arXiv:1610.06545
    """
    _check_finite(x=x, y=y)
    rng = np.random.default_rng(seed)
    n_samples, d = x.shape[1:]
    slopes = rng.standard_normal((d, N_FEATURES)) * SLOPE / d**0.5
    offsets = rng.uniform(-OFFSET, OFFSET, N_FEATURES)
    labels = np.repeat([-1.0, 1.0], n_samples)
    order = rng.permutation(2 * n_samples)
    accuracies = []
    for pair in np.concatenate([x, y], axis=1):
        z = _whiten(ndtri((stats.rankdata(pair, axis=0) - 0.5) / len(pair)))
        features = np.concatenate([_products(z), np.tanh(z @ slopes + offsets)], axis=1)
        features = (features - features.mean(0)) / features.std(0)
        accuracies.append(_classify(features[order], labels[order]))
    return np.array(accuracies)


def _whiten(z: np.ndarray) -> np.ndarray:
    """Return z, shape (n, d), rotated and scaled to unit covariance."""
    variance, axes = np.linalg.eigh(np.cov(z, rowvar=False, ddof=0).reshape(z.shape[1], -1))
    return (z - z.mean(0)) @ axes / np.sqrt(np.maximum(variance, 1e-12))


def _products(z: np.ndarray) -> np.ndarray:
    """Return z, shape (n, d), beside all products of two of its columns."""
    i, j = np.triu_indices(z.shape[1])
    return np.concatenate([z, z[:, i] * z[:, j]], axis=1)


def _classify(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the cross-validated accuracy of a ridge classifier of labels -1 and 1."""
    gram, moment = features.T @ features, features.T @ labels
    correct = 0
    for fold in np.array_split(np.arange(len(labels)), N_FOLDS):
        held, n = features[fold], len(labels) - len(fold)
        variance, axes = np.linalg.eigh(gram - held.T @ held)
        projected = axes.T @ (moment - held.T @ labels[fold])
        # generalised cross-validation, all penalties at once: shape (penalty, feature)
        shrunk = 1 / (variance + n * PENALTIES[:, None])
        weights = projected * shrunk
        error = n - 2 * weights @ projected + (weights**2 * variance).sum(1)
        freedom = 1 + (variance * shrunk).sum(1)
        best = weights[np.argmin(error / (1 - freedom / n) ** 2)]
        correct += np.sum(held @ (axes @ best) * labels[fold] > 0)
    return correct / len(labels)


def weighted_hpd_level(
    log_w: np.ndarray, log_post: np.ndarray, log_post_truth: np.ndarray
) -> np.ndarray:
    """Return the mass of the smallest region of a weighted posterior that holds the truth, (n,).

    Parameters
    ----------
    log_w
        Log importance weights of draws, up to a constant, shape (n, n_samples): log likelihoods
        for draws from the prior.
    log_post
        Log posterior density of the draws, up to a constant, shape (n, n_samples).
    log_post_truth
        The same at the true parameters, shape (n,).

    Notes
    -----
    Draws exactly as probable as the truth, as under a flat posterior, count for a share that goes
    evenly from 0 to 1 over the test sims.
    """
    _check_finite(log_post_truth=log_post_truth)
    weights = softmax(log_w, axis=1)
    _check_finite(weights=weights)
    higher, tied = (
        (weights * compare(log_post, log_post_truth[:, None])).sum(1)
        for compare in (np.greater, np.equal)
    )
    return higher + probability_nodes(len(higher)) * tied


def paired_comparison(
    a: np.ndarray, b: np.ndarray, *, rng: np.random.Generator
) -> PairedComparison:
    """Compare the scores of two methods at the same test sims of the same repetitions.

    The interval comes from a bootstrap over repetitions, whose test sims differ, so that their
    means hold the scatter of both; resampling the test sims as well would count theirs twice. A
    single repetition is resampled over its test sims.

    Parameters
    ----------
    a, b
        Shape (n_repetitions, n_test).
    rng
        Resamples.

    Returns
    -------
    PairedComparison
        Of a - b: negative where the first method scores lower.

    References
    ----------
    Davison and Hinkley (1997), section 3.8
    """
    _check_finite(a=a, b=b)
    units = (a - b).mean(1) if len(a) > 1 else (a - b)[0]
    n, mean = len(units), units.mean()
    resampled = units[rng.integers(n, size=(N_BOOTSTRAP, n))].mean(1)
    # percentiles of few units are too narrow by this factor, as for normal data
    widening = np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)
    low, high = mean + widening * (np.quantile(resampled, [0.025, 0.975]) - mean)
    return PairedComparison(float(mean), float(low), float(high), bool(low > 0 or high < 0))


def _check_finite(**arrays: np.ndarray) -> None:
    for name, array in arrays.items():
        bad = ~np.isfinite(array)
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"{int(bad.sum())} of {array.size} values of {name} are not finite, the first at "
                f"{first}; no test sim can be left out, so find out why."
            )
