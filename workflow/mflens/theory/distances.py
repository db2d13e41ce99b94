"""Comoving distances of one cosmology, tabulated as far as any prior needs."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicSpline

from mflens.parameters import Z_MAX

if TYPE_CHECKING:
    from cosmology.compat.camb import Cosmology as Background

N_NODES = 512  # 1e-5 Mpc between them


class Distances:
    """Distance from redshift and redshift from distance: cubic splines over ln(1 + z).

    Parameters
    ----------
    background
        Distances in Mpc.
    h
        Hubble parameter, to turn them into Mpc/h.

    Attributes
    ----------
    z, chi
        The table: redshifts from 0 to `Z_MAX` and distances in Mpc/h, shapes (N_NODES,).
    """

    def __init__(self, background: "Background", h: float) -> None:
        self._ln = np.linspace(0.0, np.log1p(Z_MAX), N_NODES)
        self.z = np.expm1(self._ln)
        self.chi = np.asarray(background.comoving_distance(self.z), dtype=float) * h

    @cached_property
    def _forth(self) -> CubicSpline:
        return CubicSpline(self._ln, self.chi)

    @cached_property
    def _back(self) -> CubicSpline:
        return CubicSpline(self.chi, self._ln)

    def distance(self, z: float | np.ndarray) -> np.ndarray:
        """Return comoving distances in Mpc/h, of the shape of z; beyond `Z_MAX` the last one."""
        return self._forth(np.minimum(np.log1p(z), self._ln[-1]))

    def redshift(self, chi: float | np.ndarray) -> np.ndarray:
        """Return redshifts at distances in Mpc/h, of the shape of chi.

        Beyond the table ln(1 + z) goes on in a straight line: shells that other cosmologies need
        may lie beyond all there is to see in one with much matter, and have an extent there.
        """
        end = self.chi[-1]
        beyond = np.maximum(chi - end, 0.0) * self._back(end, 1)
        return np.expm1(self._back(np.minimum(chi, end)) + beyond)
