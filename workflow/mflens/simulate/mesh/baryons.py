"""Tier `baryons`: the N-body shells with the feedback that HMCode-2020 finds in hydrodynamics."""

import numpy as np

from mflens.simulate import harmonics
from mflens.simulate.mesh.particles import ParticleMesh
from mflens.simulate.tiers import Draw
from mflens.theory.cosmology import Cosmology
from mflens.theory.kernels import Shells
from mflens.theory.power import feedback_response

N_K = 128
N_NODES = 8


class Baryons(ParticleMesh):
    """A particle-mesh run whose shells lose the power that feedback takes from matter.

    Its strength is the parameter `log10_T_AGN`, the logarithm of the heating temperature in K,
    which no other tier depends on. Options are those of `ParticleMesh`.
    """

    def coefficients(self, cosmology: Cosmology, draw: Draw) -> np.ndarray:
        """Return the harmonic coefficients of all shells with feedback."""
        k = wavenumbers(self.sky.shells, self.sky.ell_max)
        response = feedback_response(cosmology.parameters, cosmology.shell_growth.z, k)
        factor = amplitudes(response, k, self.sky.shells, self.sky.ell_max)
        ell = harmonics.degrees(self.sky.ell_max)
        return super().coefficients(cosmology, draw) * factor[:, ell].astype(np.float32)


def wavenumbers(shells: Shells, ell_max: int) -> np.ndarray:
    """Return wavenumbers in h/Mpc that hold what the shells' multipoles see, shape (N_K,)."""
    nearest = shells.quadrature(0, N_NODES)[0][N_NODES // 2]
    return np.geomspace(0.5 / shells.edges[-1], (ell_max + 0.5) / nearest, N_K)


def amplitudes(response: np.ndarray, k: np.ndarray, shells: Shells, ell_max: int) -> np.ndarray:
    """Return what feedback multiplies the shells' harmonic coefficients by.

    The root of the mean over the shell of P / P_without at k = (l + 1/2) / chi.

    Parameters
    ----------
    response
        P / P_without at the shells' redshifts, shape (n_shells, n_k).
    k
        Wavenumbers in h/Mpc, shape (n_k,), ascending; beyond them the response is that at the end.
    shells
        The shells.
    ell_max
        Largest multipole.

    Returns
    -------
    array
        Shape (n_shells, ell_max + 1).

    Notes
    -----
    ASSUME feedback changes the amplitude of density modes and not their phases, in Limber's
    approximation: the response of HMCode-2020 (arXiv:2009.01858, section 6) is that of the power
    spectrum alone.
    """
    ell = np.arange(ell_max + 1) + 0.5
    factor = np.empty((shells.n_shells, ell.size))
    for i in range(shells.n_shells):
        chi, weight = shells.quadrature(i, N_NODES)
        inside = np.interp(np.log(ell / chi[:, None]), np.log(k), response[i])
        factor[i] = np.sqrt(weight @ inside)
    return factor
