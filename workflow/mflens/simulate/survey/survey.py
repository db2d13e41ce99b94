"""The survey layer, the same for every tier: sources, shape noise, footprint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mflens.simulate.randomness import BaseMeasure
from mflens.simulate.survey import intrinsic
from mflens.simulate.survey.counts import poisson_quantile
from mflens.simulate.survey.footprint import observed_fraction
from mflens.simulate.survey.lensing import SourcePlanes
from mflens.simulate.survey.line_of_sight import LineOfSight, lensing_kernel, source_shares
from mflens.simulate.survey.redshifts import move_distribution, source_distributions
from mflens.simulate.survey.response import Matter, response

if TYPE_CHECKING:
    from cosmology.compat.camb import Cosmology as Background


@dataclass(frozen=True)
class Survey:
    """A tomographic shear survey.

    Attributes
    ----------
    z
        Redshifts, shape (n_z,).
    n_of_z
        Source distributions, normalised to 1, shape (n_bins, n_z).
    n_gal
        Galaxies per square arcminute, shape (n_bins,).
    sigma_e
        Ellipticity dispersion per component, one number or shape (n_bins,).
    pixel
        Footprint: NESTED pixel numbers, ascending, shape (n_pix,).
    nside
        HEALPix resolution.
    coverage
        Observed fraction of the footprint's pixels, shape (n_pix,), or one number.
    poisson
        Whether the galaxies in a pixel are a Poisson number instead of their mean.
    source_bias
        Linear bias with which the sources trace the density; 0 for none, needs `poisson`.
    """

    z: np.ndarray
    n_of_z: np.ndarray
    n_gal: np.ndarray
    sigma_e: float | np.ndarray
    pixel: np.ndarray
    nside: int
    coverage: float | np.ndarray = 1.0
    poisson: bool = False
    source_bias: float = 0.0

    @property
    def n_bins(self) -> int:
        """Number of tomographic bins."""
        return self.n_of_z.shape[0]

    @cached_property
    def pixel_ring(self) -> np.ndarray:
        """Footprint in RING numbers, in the order of `pixel`."""
        import healpy

        return healpy.nest2ring(self.nside, self.pixel)

    @property
    def noise_sd(self) -> np.ndarray:
        """Standard deviation of the mean ellipticity per component, shape (n_bins,).

        That of a pixel observed in full, with the mean number of galaxies.
        """
        return self.sigma_e / np.sqrt(self.n_gal * self._pixel_area)

    @property
    def _pixel_area(self) -> float:
        """Area of a pixel in square arcminutes."""
        return 4 * np.pi * (180 / np.pi * 60) ** 2 / (12 * self.nside**2)

    def source_shares(
        self, sight: LineOfSight, parameters: Mapping[str, float] | None = None
    ) -> np.ndarray:
        """Return the share of each bin's sources in each step, shape (n_bins, n_shells, STEPS).

        `parameters` may hold the nuisances `delta_z_1`, `stretch_1`, ...
        """
        known = parameters or {}
        if not any(name.startswith(("delta_z", "stretch")) for name in known):
            return source_shares(self.z, self.n_of_z, sight)
        shares = []
        for b, n in enumerate(self.n_of_z, start=1):
            shift, stretch = known.get(f"delta_z_{b}", 0.0), known.get(f"stretch_{b}", 1.0)
            z, moved = move_distribution(self.z, n, shift, stretch)
            shares.append(source_shares(z, moved[None], sight)[0])
        return np.stack(shares)

    def source_planes(
        self,
        sight: LineOfSight,
        background: "Background",
        parameters: Mapping[str, float],
        matter: Matter | None = None,
    ) -> SourcePlanes:
        """Return where the sources are and what each shell adds to their convergence.

        Parameters
        ----------
        sight
            The shells.
        background
            Density parameters.
        parameters
            All parameters by name: cosmology and nuisances.
        matter
            What to fit the response to (`response.response`).
        """
        shares, Omega_m = self.source_shares(sight, parameters), float(background.Omega_m0)
        kernel = lensing_kernel(shares, sight, Omega_m)
        found = response(kernel, sight, matter)
        even = np.eye(len(sight.chi))[:, :, None] * sight.volume
        convergence = response(lensing_kernel(even, sight, Omega_m), sight)
        if "A_IA" in parameters:
            aligned = intrinsic.alignment(sight.z, background, parameters)
            found = found + (shares * aligned).sum(axis=2)
            convergence = convergence + np.diag((sight.volume * aligned).sum(axis=1))
        return SourcePlanes(found, shares.sum(axis=2), convergence)

    def observe(
        self,
        shear: np.ndarray,
        base: BaseMeasure,
        parameters: Mapping[str, float],
        density: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the observed shear: (1 + m) shear + shape noise, shape (n_bins, 2, n_pix).

        Parameters
        ----------
        shear
            Shear in the footprint, shape (n_bins, 2, n_pix).
        base
            The random numbers.
        parameters
            All parameters by name; `m_1`, `m_2`, ... are multiplicative biases.
        density
            Sources in each pixel relative to the mean, shape (n_bins, n_pix), if they cluster.
        """
        bias = np.array([parameters.get(f"m_{b}", 0.0) for b in range(1, self.n_bins + 1)])
        galaxies = self.galaxies(base, density)
        scale = (1 + bias).astype(np.result_type(shear, np.float32))[:, None, None]
        observed = scale * shear + self.noise(base, galaxies)
        # ASSUME a pixel without galaxies holds zero, as in maps made of catalogues
        return np.where((galaxies > 0)[:, None], observed, 0)

    def galaxies(self, base: BaseMeasure, density: np.ndarray | None = None) -> np.ndarray:
        """Return the number of galaxies in every pixel, shape (n_bins, n_pix).

        Notes
        -----
        Counts are the Poisson quantiles of uniform numbers with a stream of their own, so two
        tiers of a draw whose densities differ a little have counts that differ a little.
        """
        mean = (self.n_gal * self._pixel_area)[:, None] * np.broadcast_to(
            self.coverage, self.pixel.shape
        )
        if not self.poisson:
            return mean
        if density is not None:
            mean = mean * density
        n = self.nside**2
        return poisson_quantile(self._draw(lambda *key: base.rng("counts", *key).random(n)), mean)

    def noise(self, base: BaseMeasure, galaxies: np.ndarray | None = None) -> np.ndarray:
        """Return shape noise, shape (n_bins, 2, n_pix), float32: the same for all tiers of a draw.

        `galaxies` is the number in each pixel (`galaxies`), by default the mean; where it is 0 the
        noise is that of one galaxy.
        """
        counts = self.galaxies(base) if galaxies is None else galaxies
        sd = np.reshape(self.sigma_e, (-1, 1)) / np.sqrt(np.where(counts > 0, counts, 1.0))
        n = self.nside**2
        unit = self._draw(lambda *key: base.complex_normals(n, "noise", *key))
        noise = (np.sqrt(2) * sd).astype(np.float32) * unit
        return np.stack([noise.real, noise.imag], axis=1)

    def _draw(self, sample: Callable[[int, int], np.ndarray]) -> np.ndarray:
        """Return random numbers of the footprint's pixels, shape (n_bins, n_pix).

        `sample(b, face)` draws those of a bin and a base pixel of HEALPix, shape (nside^2,). Each
        has streams of its own, in full, so that another footprint keeps the numbers of the pixels
        they share.
        """
        bins = []
        for b in range(self.n_bins):
            drawn = [np.take(sample(b, face), inside) for face, inside in self._faces]
            bins.append(np.concatenate(drawn))
        return np.stack(bins)

    @cached_property
    def _faces(self) -> list[tuple[int, np.ndarray]]:
        """Base pixels of the footprint and the numbers of its pixels inside."""
        face, inside = np.divmod(self.pixel, self.nside**2)
        return [(int(one), inside[face == one]) for one in np.unique(face)]


def make_survey(options: Mapping[str, Any], nside: int) -> Survey:
    """Build the survey from the config's `simulate.survey`.

    Raises
    ------
    ConfigError
        If the mask or the redshift file does not fit.
    """
    z, n_of_z = source_distributions(options["redshifts"])
    fraction = observed_fraction(options["mask"], nside)
    # ASSUME pixels observed in a smaller part than min_coverage are dropped, others hold the mean
    # shear of the whole pixel with the noise of the observed part
    pixel = np.flatnonzero(fraction >= options["min_coverage"])
    return Survey(
        z=z,
        n_of_z=n_of_z,
        n_gal=np.asarray(options["n_gal_arcmin2"], dtype=float),
        sigma_e=np.asarray(options["sigma_e"], dtype=float),
        pixel=pixel,
        nside=nside,
        coverage=fraction[pixel],
        poisson=options["noise"] == "poisson",
        source_bias=options["source_bias"],
    )
