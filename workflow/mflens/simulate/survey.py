"""The survey layer, the same for every tier: sources, lensing, shape noise, footprint."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import glass
import numpy as np

from mflens.errors import ConfigError
from mflens.simulate import harmonics
from mflens.simulate.randomness import BaseMeasure
from mflens.theory.kernels import Shells

if TYPE_CHECKING:
    from cosmology.compat.camb import Cosmology as Background

Z_STEP = 0.005
NODES_PER_SHELL = 64


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

    def convergence(
        self, shells: Iterable[np.ndarray], windows: Sequence[Any], background: "Background"
    ) -> np.ndarray:
        """Return the convergence of each bin in the Born approximation.

        Parameters
        ----------
        shells
            Density contrast of each shell, nearest first, RING.
        windows
            Radial windows of the shells (`shell_windows`).
        background
            Distances, for GLASS.

        Returns
        -------
        array
            Shape (n_bins, 12 nside^2).
        """
        weights = self.shell_weights(windows)
        planes = glass.MultiPlaneConvergence(background)
        kappa = np.zeros((self.n_bins, 12 * self.nside**2))
        for i, (delta, window) in enumerate(zip(shells, windows, strict=True)):
            planes.add_window(delta, window)
            # a product, never the accumulator itself: GLASS updates it in place
            kappa += weights[:, i, None] * planes.kappa
        return kappa

    def shell_weights(self, windows: Sequence[Any]) -> np.ndarray:
        """Return the share of each bin's sources in each shell, shape (n_bins, n_shells)."""
        shares = glass.partition(self.z, self.n_of_z, windows)
        shares = np.asarray(shares).reshape(len(windows), self.n_bins).T
        return shares / shares.sum(axis=1, keepdims=True)

    def shear(self, kappa: np.ndarray, ell_max: int) -> np.ndarray:
        """Return the shear in the footprint, shape (n_bins, 2, n_pix), from full-sky convergence.

        Parameters
        ----------
        kappa
            Shape (n_bins, 12 nside^2), RING.
        ell_max
            Band limit of the shear.
        """
        factor = harmonics.shear_factor(ell_max)[harmonics.degrees(ell_max)]
        gamma = np.empty((self.n_bins, 2, self.pixel.size))
        for b in range(self.n_bins):
            alm = harmonics.analyse(kappa[b], ell_max) * factor
            both = np.stack([alm, np.zeros_like(alm)])
            gamma[b] = harmonics.synthesise(both, self.nside, ell_max, spin=2)[:, self.pixel_ring]
        return gamma

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


def shell_windows(shells: Shells, background: "Background", h: float) -> list[Any]:
    """Return GLASS's radial windows of the shells: volume weight inside, nothing outside.

    Parameters
    ----------
    shells
        The shells.
    background
        Distances in Mpc.
    h
        Hubble parameter, to turn the shells' Mpc/h into Mpc.
    """
    windows = []
    for low, high in zip(shells.edges[:-1], shells.edges[1:], strict=True):
        chi = np.linspace(low, high, NODES_PER_SHELL)
        z = np.asarray(background.inv_comoving_distance(chi / h), dtype=float)
        z[0] = 0.0 if low == 0 else z[0]
        weight = chi**2 * np.gradient(chi, z)
        windows.append(
            glass.RadialWindow(z, weight, np.trapezoid(weight * z, z) / np.trapezoid(weight, z))
        )
    return windows


def convergence_spectra(
    spectra: np.ndarray, weights: np.ndarray, windows: Sequence[Any], background: "Background"
) -> np.ndarray:
    """Return the theory C_l of convergence of all pairs of bins from the shells' spectra.

    Parameters
    ----------
    spectra
        C_l^{ij} of density, shape (n_ell, n_shells, n_shells).
    weights
        Share of each bin's sources in each shell, shape (n_bins, n_shells).
    windows, background
        As for `Survey.convergence`.

    Returns
    -------
    array
        Shape (n_ell, n_bins, n_bins).
    """
    response = weights @ np.asarray(glass.multi_plane_matrix(windows, background))
    return response @ spectra @ response.T
