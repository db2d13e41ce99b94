"""Where shells and sources lie along the line of sight, and how the matter between lenses them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mflens.simulate.survey.depth import LIGHT_SPEED_OVER_100
from mflens.simulate.survey.redshifts import cumulative
from mflens.theory.cosmology import Geometry

STEPS = 32  # of equal length in each shell


@dataclass(frozen=True)
class LineOfSight:
    """The shells of one cosmology, each cut into steps of equal length.

    Attributes
    ----------
    edges
        Comoving distances between the steps in Mpc/h, shape (n_shells, STEPS + 1).
    z_edges
        Their redshifts.
    """

    edges: np.ndarray
    z_edges: np.ndarray

    @cached_property
    def chi(self) -> np.ndarray:
        """Comoving distances of the middles of the steps in Mpc/h, shape (n_shells, STEPS)."""
        return 0.5 * (self.edges[:, 1:] + self.edges[:, :-1])

    @cached_property
    def z(self) -> np.ndarray:
        """Redshifts of the middles, shape (n_shells, STEPS)."""
        return 0.5 * (self.z_edges[:, 1:] + self.z_edges[:, :-1])

    @cached_property
    def length(self) -> np.ndarray:
        """Lengths of the steps of each shell in Mpc/h, shape (n_shells, 1)."""
        return np.diff(self.edges[:, :2])

    @cached_property
    def volume(self) -> np.ndarray:
        """Share of a shell's volume in each step, shape (n_shells, STEPS)."""
        cubes = np.diff(self.edges**3)
        return cubes / cubes.sum(axis=1, keepdims=True)


def line_of_sight(shells: Any, geometry: Geometry) -> LineOfSight:
    """Cut shells, an object with `edges` in Mpc/h, shape (n_shells + 1,), into steps."""
    edges = np.linspace(shells.edges[:-1], shells.edges[1:], STEPS + 1, axis=1)
    return LineOfSight(edges, geometry.distances.redshift(edges))


def source_shares(z: np.ndarray, n_of_z: np.ndarray, sight: LineOfSight) -> np.ndarray:
    """Return the share of each bin's sources in each step, shape (n_bins, n_shells, STEPS).

    A share is the integral of n(z), linear between its redshifts, over the step. The sum over a
    shell's steps is its share of the sources.

    Parameters
    ----------
    z, n_of_z
        Redshifts, shape (n_z,), and normalised distributions, shape (n_bins, n_z).
    sight
        The line of sight.
    """
    # ASSUME sources behind the last shell, of which the checks of the config leave none but in
    # the tails of normal priors, stand at its end
    below = cumulative(z, n_of_z, sight.z_edges)
    below[:, -1, -1] = 1.0
    return np.diff(below, axis=2)


def lensing_kernel(shares: np.ndarray, sight: LineOfSight, Omega_m: float) -> np.ndarray:
    """Return W of kappa = int W(chi) delta dchi in h/Mpc, shape (n_bins, n_shells, STEPS).

    W(chi) = 3/2 Omega_m (H_0/c)^2 (1 + z) chi int_chi^inf dchi_s n(chi_s) (1 - chi / chi_s)
    (arXiv:1411.0115), the mean over each step.

    Parameters
    ----------
    shares
        Sources in each step (`source_shares`), shape (n_bins, n_shells, STEPS).
    sight
        The line of sight.
    Omega_m
        Matter density today over the critical density.
    """
    # ASSUME Born approximation: light follows the undeflected line of sight
    chi = sight.chi.ravel()
    sources = shares.reshape(len(shares), -1)
    nearness = sources / chi

    def behind(values: np.ndarray) -> np.ndarray:
        return np.cumsum(values[:, ::-1], axis=1)[:, ::-1] - values

    # of sources in the step itself, the mean of (chi_s - chi) / chi_s is a sixth of its length
    own = nearness * np.broadcast_to(sight.length / 6, sight.chi.shape).ravel()
    # nothing lenses sources before it, but for rounding
    efficiency = np.maximum(behind(sources) - chi * behind(nearness) + own, 0.0)
    kernel = 1.5 * Omega_m / LIGHT_SPEED_OVER_100**2 * (1 + sight.z.ravel()) * chi * efficiency
    return kernel.reshape(shares.shape)
