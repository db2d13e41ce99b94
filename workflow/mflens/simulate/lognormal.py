"""Tier `lognormal`: GLASS's lognormal density shells (arXiv:2302.01942)."""

import logging
import warnings
from collections.abc import Iterator
from typing import cast

import glass
import numpy as np

from mflens.simulate.randomness import InjectedHarmonics
from mflens.simulate.tiers import Draw, Sky
from mflens.theory.cosmology import Cosmology

logger = logging.getLogger(__name__)


class Lognormal:
    """Lognormal shells with the non-linear spectra of the theory.

    Parameters
    ----------
    sky
        The discretisation.
    shift
        Shift of the lognormal distribution; 1 makes the density contrast at least -1.
    n_correlated
        How many preceding shells each shell is correlated with.
    """

    def __init__(self, sky: Sky, shift: float, n_correlated: int) -> None:
        self.sky = sky
        self.n_correlated = n_correlated
        self.fields = [glass.grf.Lognormal(shift) for _ in range(sky.shells.n_shells)]
        self._solved: tuple[int, list[np.ndarray]] = (-1, [])

    def density_shells(self, cosmology: Cosmology, draw: Draw) -> Iterator[np.ndarray]:
        """Yield the shells; see `Tier`."""
        if self._solved[0] != cosmology.id:
            self._solved = (cosmology.id, self.gaussian_spectra(cosmology))
        yield from glass.generate(
            self.fields,
            self._solved[1],
            self.sky.nside,
            ncorr=self.n_correlated,
            rng=cast(np.random.Generator, InjectedHarmonics(draw.harmonics, self.sky.ell_max)),
        )

    def gaussian_spectra(self, cosmology: Cosmology) -> list[np.ndarray]:
        """Return the spectra of the Gaussian fields behind the lognormal ones, GLASS's order."""
        n = self.sky.shells.n_shells
        spectra = []
        for i, j in glass.spectra_indices(n):
            near = abs(int(i) - int(j)) <= self.n_correlated
            spectra.append(cosmology.spectra[:, i, j].copy() if near else np.zeros(0))
        for i in range(n):
            # the mean of a shell over the sky is not a mode of the survey
            spectra[i * (i + 1) // 2][0] = 0.0
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            solved = glass.solve_gaussian_spectra(self.fields, spectra)
        if caught:
            logger.info(
                "cosmology %d: %d Gaussian spectra of GLASS did not converge fully",
                cosmology.id,
                len(caught),
            )
        return list(solved)
