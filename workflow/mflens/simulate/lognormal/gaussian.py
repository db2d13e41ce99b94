"""Gaussian fields behind lognormal ones: their spectra and their sampling, as GLASS does it.

GLASS solves pair by pair and transforms shell by shell with healpy. Here all pairs are solved and
all shells transformed together: the same numbers to single precision (tested), an order of
magnitude sooner.
"""

from collections.abc import Sequence
from functools import cache

import glass
import numpy as np
from glass.fields import cls2cov, iternorm

from mflens.compiled import compiled

TOLERANCE = 1e-5
N_ITERATIONS = 20
N_HALVINGS = 60
MARGIN = 1e-6


def solve_spectra(spectra: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Gaussian spectra that the lognormal transformation turns into `spectra`.

    Parameters
    ----------
    spectra
        C_l of pairs of lognormal fields, shape (n_pairs, n_ell). The monopole is ignored: the mean
        of a shell over the sky is not a mode of the survey.
    scale
        Product of the shifts of the two fields, shape (n_pairs,).

    Returns
    -------
    spectra
        Shape (n_pairs, n_ell), zero at l = 0; not finite where the shifts are too small for the
        correlation function.
    converged
        Whether the solver reached its tolerance, shape (n_pairs,).

    References
    ----------
    GLASS, arXiv:2302.01942: its Gauss-Newton solver `glass.grf.solve`, for all pairs at once.
    """
    target, scale = _without_monopole(spectra.copy()), scale[:, None]
    legendre = _legendre(target.shape[1], 3 * target.shape[1])
    found = _first_guess(target, scale)
    pairs = np.nonzero(np.isfinite(found).all(axis=1))[0]
    converged = np.zeros(len(found), dtype=bool)
    xi = legendre.correlations(found[pairs])
    excess = _excess(legendre, xi, scale[pairs], target[pairs])
    for _ in range(N_ITERATIONS):
        converged[pairs] |= _relative(excess, target[pairs]) <= TOLERANCE
        left = ~converged[pairs]
        if not left.any():
            break
        pairs, xi, excess = pairs[left], xi[left], excess[left]
        error = _relative(excess, target[pairs])
        slope = scale[pairs] * np.exp(xi)
        step = -_without_monopole(legendre.spectra(legendre.correlations(excess) / slope))
        change = legendre.correlations(step)
        excess = _excess(legendre, xi + change, scale[pairs], target[pairs])
        for _ in range(N_HALVINGS):
            worse = _relative(excess, target[pairs]) > error
            if not worse.any():
                break
            step[worse] /= 2
            change[worse] /= 2
            of = pairs[worse]
            excess[worse] = _excess(legendre, (xi + change)[worse], scale[of], target[of])
        xi += change
        converged[pairs] = _relative(step, found[pairs]) <= TOLERANCE
        found[pairs] += step
    return found, converged


def _first_guess(target: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return Gaussian spectra as if the lognormal ones ended at their last l.

    `target` and what is returned have shape (n_pairs, n_ell), `scale` (n_pairs, 1).
    """
    legendre = _legendre(target.shape[1], target.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        xi = np.log1p(legendre.correlations(target) / scale)
        return _without_monopole(legendre.spectra(xi))


def _excess(
    legendre: "_Legendre", xi: np.ndarray, scale: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Return what the spectra realised by Gaussian correlations have too much.

    `xi` has shape (n_pairs, n_angles), `scale` (n_pairs, 1), `target` and what is returned
    (n_pairs, n_ell).
    """
    return _without_monopole(legendre.spectra(scale * np.expm1(xi)) - target)


def sampling_factors(spectra: Sequence[np.ndarray], n_correlated: int) -> np.ndarray:
    """Return the Cholesky factor of the shells' covariance, by GLASS's recurrence.

    Parameters
    ----------
    spectra
        Gaussian spectra in GLASS's order; those of shells too far apart may be empty.
    n_correlated
        How many preceding shells each shell is correlated with.

    Returns
    -------
    array
        For each shell, the weights of the white coefficients of the shells before it and of its
        own, oldest first, shape (n_shells, n_correlated + 1, n_ell).

    Raises
    ------
    ValueError
        If the covariance is not positive definite.
    """
    n_shells, n_ell = glass.nfields_from_nspectra(len(spectra)), len(spectra[0])
    # GLASS's numbers have variance 2, ours 1
    rows = cls2cov(spectra, n_ell, n_shells, n_correlated)
    factors = np.stack([np.asarray(row) for row in iternorm(rows)])
    return np.ascontiguousarray(np.sqrt(2) * factors.transpose(0, 2, 1))


def regularise(spectra: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """Return the nearest positive definite spectra, by GLASS, and at how many l they differ.

    Parameters
    ----------
    spectra
        Gaussian spectra of all pairs of shells in GLASS's order. Auto-spectra stay as they are.
    """
    before = np.asarray(glass.cov_from_spectra(spectra))
    nearest = np.asarray(glass.cov_from_spectra(glass.regularized_spectra(spectra)))
    root = np.sqrt(np.diagonal(before, axis1=1, axis2=2))
    scale = np.where(root > 0, root, 1.0)
    lowest = np.linalg.eigvalsh(nearest / (scale[:, :, None] * scale[:, None, :]))[:, 0]
    # the nearest matrix is singular, and GLASS's recurrence wants a little more than that
    kept = 1 - np.maximum(MARGIN - lowest, 0.0)[:, None, None]
    after = np.where(np.eye(root.shape[1], dtype=bool), before, kept * nearest)
    changed = np.abs(after - before).max(axis=(1, 2)) > MARGIN * root.max(axis=1) ** 2
    indices = glass.spectra_indices(root.shape[1])
    return [after[:, i, j] for i, j in indices], int(changed.sum())


def sample(white: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return harmonic coefficients of correlated Gaussian fields, in single precision.

    Parameters
    ----------
    white
        Unit-variance coefficients of the shells, shape (n_shells, n_alm), healpy's order.
    factors
        Output of `sampling_factors`.
    """
    return _correlate(white.astype(np.complex64, copy=False), factors.astype(np.float32))


@compiled("c8[:,::1]", "f4[:,:,::1]")
def _correlate(white: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Sum white coefficients of every shell and the ones before it, weighted by factors."""
    n_shells, n_terms, n_ell = factors.shape
    alm, start = np.empty_like(white), 0
    for m in range(n_ell):
        # coefficients of one m lie together, from l = m on: those of all shells fit a core's cache
        stop = start + n_ell - m
        for i in range(n_shells):
            row = alm[i, start:stop]
            row[:] = 0
            for term in range(max(0, n_terms - 1 - i), n_terms):
                weights = factors[i, term, m:]
                source = white[i - (n_terms - 1 - term), start:stop]
                for n in range(row.size):
                    row[n] += weights[n] * source[n]
        start = stop
    return alm


class _Legendre:
    """Transforms between C_l and xi(theta) on GLASS's angles (k + 1/2) pi / n.

    Polynomials of even and odd degree are even and odd about 90 degrees: each kind is transformed
    on half of the angles, which is half of the work.

    Parameters
    ----------
    n_ell, n_angles
        Number of multipoles and of angles.

    Attributes
    ----------
    near, far
        Slices of the angles up to 90 degrees, and of those below.
    there, back
        For even and for odd degrees, the matrix from C_l to xi at near angles, shape (n_degrees,
        n_near), and the one from the even or odd part of xi to C_l, shape (n_near or n_far,
        n_degrees).
    """

    def __init__(self, n_ell: int, n_angles: int) -> None:
        n_far = n_angles // 2
        n_near = n_angles - n_far  # with 90 degrees, if that is one of the angles
        x = np.cos(np.pi * (np.arange(n_near) + 0.5) / n_angles)
        polynomials = np.polynomial.legendre.legvander(x, n_angles - 1)
        weights = (2 * np.arange(n_ell) + 1) / (4 * np.pi)
        self.n_ell, self.n_angles = n_ell, n_angles
        self.near, self.far = slice(n_near), slice(n_far)
        self.there, self.back = [], []
        for parity, angles in enumerate((self.near, self.far)):
            weight = weights[parity::2, None]
            columns = polynomials[:, parity:n_ell:2]
            inverse = np.linalg.inv(polynomials[angles, parity::2])[: len(weight)]
            self.there.append(np.ascontiguousarray(columns.T * weight))
            self.back.append(np.ascontiguousarray((inverse / weight).T))

    def correlations(self, spectra: np.ndarray) -> np.ndarray:
        """Return xi, shape (..., n_angles), of C_l, shape (..., n_ell)."""
        even, odd = (spectra[..., i::2] @ self.there[i] for i in range(2))
        xi = np.empty((*spectra.shape[:-1], self.n_angles))
        xi[..., self.near] = even + odd
        xi[..., ::-1][..., self.far] = (even - odd)[..., self.far]
        return xi

    def spectra(self, correlations: np.ndarray) -> np.ndarray:
        """Return C_l, shape (..., n_ell), of xi, shape (..., n_angles)."""
        mirrored = correlations[..., ::-1]
        spectra = np.empty((*correlations.shape[:-1], self.n_ell))
        even = correlations[..., self.near] + mirrored[..., self.near]
        odd = correlations[..., self.far] - mirrored[..., self.far]
        spectra[..., ::2] = even / 2 @ self.back[0]
        spectra[..., 1::2] = odd / 2 @ self.back[1]
        return spectra


_legendre = cache(_Legendre)


def _without_monopole(spectra: np.ndarray) -> np.ndarray:
    spectra[:, 0] = 0.0
    return spectra


def _relative(change: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return max_l |change / value| of each row."""
    with np.errstate(divide="ignore"):
        ratio = np.divide(change, value, out=np.zeros_like(change), where=change != 0)
    return np.abs(ratio).max(axis=1, initial=0.0)
