"""Projection of a periodic density mesh onto the light cone's shells.

The mesh is filtered to what a shell's map can hold, interpolated along lines of sight through
repeated boxes and averaged with volume weights: one operator for the linear and for the evolved
density, so that both see the same modes.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit

from mflens.simulate import harmonics
from mflens.theory.kernels import Shells
from mflens.theory.spectra import mesh_wavenumbers

INTERPOLATION = 2


@dataclass(frozen=True)
class Mesh:
    """The periodic box.

    Attributes
    ----------
    n_mesh
        Cells (and particles) per side, a power of two.
    box_mpc_h
        Side in Mpc/h.
    projection_nside
        Resolution of the maps that the box is projected on.
    """

    n_mesh: int
    box_mpc_h: float
    projection_nside: int

    def cuts(self, shells: Shells) -> np.ndarray:
        """Return the largest wavenumber in h/Mpc kept in each shell, shape (n_shells,).

        A map analysed up to l <= nside holds l < 3 nside without aliasing; beyond the
        mesh's Nyquist wavenumber there is nothing to keep.
        """
        nyquist = np.pi * self.n_mesh / self.box_mpc_h
        return np.minimum(nyquist, 3 * self.projection_nside / shells.edges[1:])


class LightCone:
    """Projects meshes onto shells.

    Parameters
    ----------
    shells
        The shells.
    mesh
        The box.
    ell_max
        Largest multipole wanted.
    """

    def __init__(self, shells: Shells, mesh: Mesh, ell_max: int) -> None:
        import healpy

        self.shells, self.mesh, self.ell_max = shells, mesh, ell_max
        n_pix = healpy.nside2npix(mesh.projection_nside)
        self.directions = np.stack(healpy.pix2vec(mesh.projection_nside, np.arange(n_pix)), axis=1)
        self.wavenumber = mesh_wavenumbers(mesh.n_mesh, mesh.box_mpc_h)
        self.cuts = mesh.cuts(shells)

    @cache  # noqa: B019  (a light cone lives as long as its job)
    def window(self, order: int) -> np.ndarray:
        """Return the Fourier window of B-spline assignment (2: linear, 3: TSC) on the mesh."""
        n = self.mesh.n_mesh
        x, z = np.sinc(np.fft.fftfreq(n)), np.sinc(np.arange(n // 2 + 1) / n)
        return (x[:, None, None] * x[None, :, None] * z[None, None, :]) ** order

    def project(
        self, density: np.ndarray, slopes: np.ndarray, assignment: int, only: int | None = None
    ) -> np.ndarray:
        """Return harmonic coefficients of the density contrast in the shells.

        Parameters
        ----------
        density
            Fourier mesh (numpy's rfftn) of the density contrast, shape (n, n, n // 2 + 1).
        slopes
            d ln D per shell thickness in each shell: growth inside the shell.
        assignment
            Order of the particle assignment to undo (3 for TSC, 0 for a field on the mesh).
        only
            Project this shell alone.

        Returns
        -------
        array
            Shape (n_shells, n_alm), or (n_alm,) with `only`; healpy's order.
        """
        density = density / self.window(assignment + INTERPOLATION)
        if only is not None:
            return self._project_shell(density, slopes, only)
        return np.stack(
            [self._project_shell(density, slopes, i) for i in range(self.shells.n_shells)]
        )

    def _project_shell(self, density: np.ndarray, slopes: np.ndarray, i: int) -> np.ndarray:
        n = self.mesh.n_mesh
        kept = np.where(self.wavenumber <= self.cuts[i], density, 0).astype(np.complex64)
        field = np.fft.irfftn(kept, s=(n, n, n), axes=(0, 1, 2)).astype(np.float32)
        n_radial = 6 + int(np.ceil(0.36 * self.cuts[i] * self.shells.thickness_mpc_h))
        chi, weight = self.shells.quadrature(i, n_radial)
        weight = weight * (1 + slopes[i] * self.shells.offset(i, chi))
        sky = _sample(field, self.directions, chi * n / self.mesh.box_mpc_h, weight)
        return harmonics.project(sky, self.ell_max)


@njit(cache=True, fastmath=True)
def _sample(
    field: np.ndarray, directions: np.ndarray, radii: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Sum weights * field over points along each direction, trilinear and periodic.

    Radii are in cells; the observer sits on the mesh point (0, 0, 0).
    """
    # n is a power of two: a mask wraps negative cells too, several times faster than a division
    last = field.shape[0] - 1
    result = np.zeros(directions.shape[0])
    for p in range(directions.shape[0]):
        total = 0.0
        for r in range(radii.size):
            x = directions[p, 0] * radii[r]
            y = directions[p, 1] * radii[r]
            z = directions[p, 2] * radii[r]
            fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
            i, j, k = int(fx) & last, int(fy) & last, int(fz) & last
            i1, j1, k1 = (i + 1) & last, (j + 1) & last, (k + 1) & last
            x -= fx
            y -= fy
            z -= fz
            low = (1 - y) * ((1 - z) * field[i, j, k] + z * field[i, j, k1])
            low += y * ((1 - z) * field[i, j1, k] + z * field[i, j1, k1])
            high = (1 - y) * ((1 - z) * field[i1, j, k] + z * field[i1, j, k1])
            high += y * ((1 - z) * field[i1, j1, k] + z * field[i1, j1, k1])
            total += weights[r] * ((1 - x) * low + x * high)
        result[p] = total
    return result
