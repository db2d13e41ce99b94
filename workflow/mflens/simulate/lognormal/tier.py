"""Tier `lognormal`: GLASS's lognormal density shells (arXiv:2302.01942)."""

import logging
from typing import NamedTuple

import glass
import numpy as np

from mflens.errors import ConfigError
from mflens.simulate import harmonics
from mflens.simulate.lognormal import gaussian
from mflens.simulate.tiers import Draw, Sky
from mflens.theory.cosmology import Cosmology

logger = logging.getLogger(__name__)


class Fields(NamedTuple):
    """What sampling the fields of one cosmology needs.

    Attributes
    ----------
    id
        Number of the cosmology.
    shift, variance
        Shift of each lognormal field and variance of its Gaussian field, shapes (n_shells,).
    factors
        Output of `gaussian.sampling_factors`.
    """

    id: int
    shift: np.ndarray
    variance: np.ndarray
    factors: np.ndarray


class Lognormal:
    """Lognormal shells with the non-linear spectra of the theory.

    Parameters
    ----------
    sky
        The discretisation.
    shift
        Shift of the lognormal distribution, its lower bound being -shift; or `hilbert2011`, the
        fit of Hilbert et al. 2011 (`glass.lognormal_shift_hilbert2011`) at the shells' redshifts.
    n_correlated
        How many preceding shells each shell is correlated with.

    Attributes
    ----------
    n_regularised
        Number of cosmologies so far whose spectra were not positive definite.
    """

    def __init__(self, sky: Sky, shift: float | str, n_correlated: int) -> None:
        self.sky = sky
        self.shift = shift
        self.n_correlated = min(n_correlated, sky.shells.n_shells - 1)
        self.n_regularised = 0
        self._fields: Fields | None = None

    def density_shells(self, cosmology: Cosmology, draw: Draw) -> np.ndarray:
        """Return the shells, shape (n_shells, n_pix), float32; see `Tier`."""
        if self._fields is None or self._fields.id != cosmology.id:
            self._fields = self.prepare(cosmology)
        _, shifts, variances, factors = self._fields
        alm = gaussian.sample(draw.harmonics, factors)
        # glass.grf.Lognormal, shift (exp(g - variance / 2) - 1), with the variance in the monopole
        alm[:, 0] -= np.sqrt(4 * np.pi) * variances / 2
        shift = shifts.astype(alm.real.dtype)

        def exponentiate(i: int, field: np.ndarray) -> None:
            # exp in place is several times faster than expm1
            np.exp(field, out=field)
            field -= 1
            field *= shift[i]

        return harmonics.synthesise_many(alm, self.sky.nside, self.sky.ell_max, exponentiate)

    def prepare(self, cosmology: Cosmology) -> Fields:
        """Return what all sims of one cosmology share: the Gaussian fields behind the shells."""
        shift = self.shifts(cosmology.shell_growth.z)
        spectra = self.gaussian_spectra(cosmology, shift, self.n_correlated)
        try:
            factors = gaussian.sampling_factors(spectra, self.n_correlated)
        except ValueError:
            # cut to a band, a covariance may lose its definiteness: take all of it
            n_all = self.sky.shells.n_shells - 1
            spectra = self.gaussian_spectra(cosmology, shift, n_all)
            spectra, n_ell = gaussian.regularise(spectra)
            factors = gaussian.sampling_factors(spectra, n_all)
            self.n_regularised += 1
            logger.warning(
                "cosmology %d: the Gaussian spectra are not positive definite; all shells are "
                "correlated and GLASS's regularisation changed %d of %d multipoles",
                cosmology.id, n_ell, self.sky.ell_max + 1,
            )  # fmt: skip
        degeneracy = (2 * np.arange(self.sky.ell_max + 1) + 1) / (4 * np.pi)
        autos = [glass.getcl(spectra, i, i) for i in range(shift.size)]
        return Fields(cosmology.id, shift, np.asarray(autos) @ degeneracy, factors)

    def shifts(self, z: np.ndarray) -> np.ndarray:
        """Return the shift of each shell at redshift z, shape (n_shells,)."""
        if self.shift == "hilbert2011":
            return np.array([glass.lognormal_shift_hilbert2011(float(one)) for one in z])
        return np.full(z.size, float(self.shift))

    def gaussian_spectra(
        self, cosmology: Cosmology, shift: np.ndarray, n_correlated: int
    ) -> list[np.ndarray]:
        """Return the spectra of the Gaussian fields behind the lognormal ones, GLASS's order.

        Raises
        ------
        ConfigError
            If a shift is too small for the correlation function of its shells.
        """
        rows, columns = np.array(list(glass.spectra_indices(shift.size))).T
        near = np.nonzero(np.abs(rows - columns) <= n_correlated)[0]
        pairs = cosmology.spectra[:, rows[near], columns[near]].T
        solved, converged = gaussian.solve_spectra(pairs, shift[rows[near]] * shift[columns[near]])
        if not np.isfinite(solved).all():
            shell = rows[near][np.argmin(np.isfinite(solved).all(axis=1))]
            raise ConfigError(
                f"simulate.tiers.lognormal.shift: {self.shift} is a shift of {shift[shell]:.2g} "
                f"for shell {shell + 1} (z = {cosmology.shell_growth.z[shell]:.2g}), too small for "
                "a density whose correlation function falls below -shift^2; raise it, 1 is the "
                "shift of a density."
            )
        if not converged.all():
            logger.info(
                "cosmology %d: %d Gaussian spectra of GLASS did not converge fully",
                cosmology.id,
                np.sum(~converged),
            )
        spectra = [np.zeros(0)] * rows.size
        for place, spectrum in zip(near, solved, strict=True):
            spectra[place] = spectrum
        return spectra
