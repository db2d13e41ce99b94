"""The survey layer, the same for every tier: sources, shape noise, footprint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import glass
import numpy as np

from mflens.errors import ConfigError
from mflens.simulate import lensing
from mflens.simulate.randomness import BaseMeasure

if TYPE_CHECKING:
    from cosmology.compat.camb import Cosmology as Background

Z_STEP = 0.005


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
        Ellipticity dispersion per component.
    pixel
        Footprint: NESTED pixel numbers, ascending, shape (n_pix,).
    nside
        HEALPix resolution.
    """

    z: np.ndarray
    n_of_z: np.ndarray
    n_gal: np.ndarray
    sigma_e: float
    pixel: np.ndarray
    nside: int

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
        """Standard deviation of the mean ellipticity per pixel and component, shape (n_bins,)."""
        area = 4 * np.pi * (180 / np.pi * 60) ** 2 / (12 * self.nside**2)
        return self.sigma_e / np.sqrt(self.n_gal * area)

    def response(
        self, windows: Sequence[Any], background: "Background", parameters: Mapping[str, float]
    ) -> np.ndarray:
        """Return what a unit density contrast of each shell adds to each bin's convergence.

        Parameters
        ----------
        windows
            Radial windows of the shells (`lensing.shell_windows`).
        background
            Distances, for GLASS.
        parameters
            All parameters of the sim by name, nuisances included.

        Returns
        -------
        array
            Shape (n_bins, n_shells).
        """
        shares = lensing.source_shares(self.z, self.n_of_z, windows)
        return lensing.response(shares, windows, background)

    def observe(
        self, shear: np.ndarray, base: BaseMeasure, parameters: Mapping[str, float]
    ) -> np.ndarray:
        """Return the observed shear, shape (n_bins, 2, n_pix): with the noise of a draw."""
        return shear + self.noise(base)

    def noise(self, base: BaseMeasure) -> np.ndarray:
        """Return shape noise, shape (n_bins, 2, n_pix): the same for all tiers of a draw."""
        sd = self.noise_sd[:, None, None]
        # drawn for the whole sky so that another footprint keeps the noise of shared pixels
        draws = [
            base.rng("noise", b).standard_normal((2, 12 * self.nside**2), dtype=np.float32)
            for b in range(self.n_bins)
        ]
        return sd * np.stack(draws)[:, :, self.pixel]


def make_survey(options: Mapping[str, Any], nside: int) -> Survey:
    """Build the survey from the config's `simulate.survey`.

    Raises
    ------
    ConfigError
        If the mask or the redshift file does not fit.
    """
    z, n_of_z = source_distributions(options["redshifts"])
    return Survey(
        z=z,
        n_of_z=n_of_z,
        n_gal=np.asarray(options["n_gal_arcmin2"], dtype=float),
        sigma_e=options["sigma_e"],
        pixel=footprint(options["mask"], nside),
        nside=nside,
    )


def source_distributions(options: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return redshifts (n_z,) and the sources' normalised distributions (n_bins, n_z).

    Parameters
    ----------
    options
        `kind: smail` with `z_0, alpha, beta, sigma_z, z_max, edges`: a Smail distribution cut into
        bins of Gaussian photometric redshifts (scatter sigma_z (1 + z)); or `kind: file` with
        `path`: an ASCII table of z and one column a bin.
    """
    if options["kind"] == "file":
        table = np.loadtxt(options["path"], ndmin=2)
        z, bins = table[:, 0], table[:, 1:].T
    else:
        z = np.arange(0.0, options["z_max"] + Z_STEP / 2, Z_STEP)
        mode = options["z_0"] * (options["alpha"] / options["beta"]) ** (1 / options["beta"])
        total = glass.smail_nz(z, mode, options["alpha"], options["beta"])
        edges = options["edges"]
        pairs = list(zip(edges[:-1], edges[1:], strict=True))
        bins = np.asarray(glass.tomo_nz_gausserr(z, total, options["sigma_z"], pairs))
    norm = np.asarray(np.trapezoid(bins, z, axis=1))
    if not np.all(norm > 0):
        raise ConfigError(
            f"simulate.survey.redshifts: bin {int(np.argmin(norm)) + 1} holds no sources; move "
            "its edges or mend the file."
        )
    return z, bins / norm[:, None]


def footprint(mask: str, nside: int) -> np.ndarray:
    """Return the NESTED pixels of the footprint, ascending.

    Parameters
    ----------
    mask
        `octant` (0 < lon < 90 deg, lat > 0), `full`, or the path of a HEALPix FITS mask.
    nside
        Resolution of the maps, which the mask must have.
    """
    import healpy

    pixel = np.arange(12 * nside**2)
    if mask == "full":
        return pixel
    if mask == "octant":
        theta, phi = healpy.pix2ang(nside, pixel, nest=True)
        return pixel[(theta < np.pi / 2 - 1e-9) & (phi < np.pi / 2)]
    values = healpy.read_map(Path(mask), nest=True, dtype=float)
    if healpy.get_nside(values) != nside:
        raise ConfigError(
            f"simulate.survey.mask: '{mask}' has nside {healpy.get_nside(values)}, the maps have "
            f"{nside}; regrade the mask or change simulate.nside."
        )
    # ASSUME a pixel counts when at least half of it is observed
    return pixel[values >= 0.5]
