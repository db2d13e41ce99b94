"""Projection of a periodic density mesh onto the light cone's shells.

The mesh is filtered to what a shell's map can hold, interpolated along lines of sight through
repeated boxes and averaged with volume weights: one operator for the linear and for the evolved
density, so that both see the same modes. Lines of sight end on rings of Gauss-Legendre nodes, as
many as the shell's content needs, so that near shells cost little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import ducc0
import numba
import numpy as np
from numba import njit, prange
from scipy.spatial.transform import Rotation

from mflens.compiled import compiled
from mflens.simulate.harmonics import degrees
from mflens.simulate.mesh.mesh_fourier import to_field
from mflens.theory.kernels import Shells

INTERPOLATION = 2
MARGIN = 64  # multipoles by which a shell's content reaches beyond k chi
POLE = 24  # points of a ring beyond twice its highest order
TILE = 16  # rings, and points of a ring, that lie together in memory
N_REPEATED = 100  # points along half a box that count what is seen first
LANES = 8  # nodes of a line of sight that a processor sums at once


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
        A shell keeps what HEALPix maps of this resolution hold, l < 3 nside.
    """

    n_mesh: int
    box_mpc_h: float
    projection_nside: int

    def cuts(self, shells: Shells) -> np.ndarray:
        """Return the largest wavenumber in h/Mpc kept in each shell, shape (n_shells,).

        Beyond the mesh's Nyquist wavenumber there is nothing to keep.
        """
        nyquist = np.pi * self.n_mesh / self.box_mpc_h
        return np.minimum(nyquist, 3 * self.projection_nside / shells.edges[1:])


@dataclass(frozen=True)
class Observer:
    """Where an observer stands in the periodic box and how he is turned.

    Attributes
    ----------
    position
        In units of the box, shape (3,).
    rotation
        Turns his axes into those of the box, shape (3, 3).
    """

    position: np.ndarray = field(default_factory=lambda: np.zeros(3))
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))


def place_observer(rng: np.random.Generator) -> Observer:
    """Return an observer anywhere in the box, turned in any way."""
    return Observer(rng.random(3), Rotation.from_quat(rng.standard_normal(4)).as_matrix())


FIRST_OBSERVER = Observer()


def repeated_share(shells: Shells, box: float) -> np.ndarray:
    """Return the share of each shell's volume that the light cone shows nearer by as well.

    A structure of the periodic box is seen first at its image nearest to the observer, which lies
    in the cube of one box around him; all that lies outside this cube is seen again. On the whole
    sky; shape (n_shells,).
    """
    axis = (np.arange(N_REPEATED) + 0.5) * (0.5 * box / N_REPEATED)
    square = axis**2
    distance = np.sqrt(square[:, None, None] + square[:, None] + square)
    cell = (box / N_REPEATED) ** 3
    first = np.histogram(distance, shells.edges)[0] * cell
    volume = 4 * np.pi / 3 * np.diff(shells.edges**3)
    return np.clip(1 - first / volume, 0.0, 1.0)


class Rings:
    """Rings on the sky that integrate the product of two band-limited functions exactly.

    Gauss-Legendre nodes in latitude; towards the poles the rings hold fewer points, as functions
    of degree l have no power beyond m = l sin(theta) there.

    Parameters
    ----------
    degree
        Sum of the two band limits.

    Attributes
    ----------
    directions
        Unit vectors in an order that keeps neighbours on the sky together, shape (3, n_points),
        float32.
    place, area
        Where each of them lies among the points of ring after ring, and its weight in the
        quadrature, shapes (n_points,).
    """

    def __init__(self, degree: int) -> None:
        n_rings = degree // 2 + 1
        theta, number = ducc0.misc.GL_thetas(n_rings), np.arange(n_rings)
        wanted = np.ceil(degree * np.sin(theta)).astype(int) + POLE
        n_phi = np.array([ducc0.fft.good_size(int(n), True) for n in wanted])
        start = np.cumsum(n_phi) - n_phi
        self.geometry = {
            "theta": theta,
            "nphi": n_phi.astype(np.uint64),
            "phi0": np.zeros(theta.size),
            "ringstart": start.astype(np.uint64),
        }
        ring = np.repeat(number, n_phi)
        turn = (np.arange(ring.size) - start[ring]) / n_phi[ring]
        tiles = (n_phi[TILE * (number // TILE)] // TILE)[ring]
        order = np.lexsort((np.floor(turn * tiles), ring // TILE))
        sin, cos = np.sin(theta).astype(np.float32)[ring], np.cos(theta).astype(np.float32)[ring]
        phi = (2 * np.pi * turn).astype(np.float32)
        xyz = np.stack([sin * np.cos(phi), sin * np.sin(phi), cos])
        self.directions, self.place = xyz[:, order], order.astype(np.int32)
        area = (ducc0.misc.GL_weights(n_rings, 1) / n_phi).astype(np.float32)
        self.area = area[ring[order]]

    def analyse(self, weighted: np.ndarray, ell_max: int) -> np.ndarray:
        """Return the harmonic coefficients of values times areas, ring after ring."""
        n_threads = numba.get_num_threads()
        return ducc0.sht.adjoint_synthesis(
            map=weighted[None], lmax=ell_max, spin=0, nthreads=n_threads, **self.geometry
        )[0]


@cache
def rings(degree: int) -> Rings:
    """Return the rings, made once for all light cones of a job."""
    return Rings(degree)


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
    fineness
        Lines of sight lie closer by this factor than the shells' content needs.
    """

    def __init__(self, shells: Shells, mesh: Mesh, ell_max: int, fineness: float = 1.0) -> None:
        self.shells, self.mesh, self.ell_max = shells, mesh, ell_max
        self.cuts = mesh.cuts(shells)
        # interpolation leaves images beyond the cut, the more the nearer it is to Nyquist
        images = 1 + 0.5 * (self.cuts * mesh.box_mpc_h / (np.pi * mesh.n_mesh)) ** 2
        content = images * self.cuts * shells.edges[1:] + MARGIN
        degrees_held = fineness * (np.ceil(content) + ell_max)
        self.rings = [rings(int(degree)) for degree in degrees_held]

    def project(
        self,
        density: np.ndarray,
        slopes: np.ndarray,
        assignment: int,
        which: Sequence[int] | np.ndarray | None = None,
        observer: Observer = FIRST_OBSERVER,
    ) -> np.ndarray:
        """Return harmonic coefficients of the density contrast in the shells.

        Parameters
        ----------
        density
            Fourier mesh (numpy's rfftn) of the density contrast, shape (n, n, n // 2 + 1).
        slopes
            d ln D per shell thickness in each shell: growth inside the shell.
        assignment
            Order of the particle assignment to undo (3 for TSC), whose cells are centred on
            (i + 1/2) / n; 0 for a field on the mesh points i / n.
        which
            Numbers of the shells to project; all without it.
        observer
            Whose light cone it is.

        Returns
        -------
        array
            Shape (n_which, n_alm), healpy's order.
        """
        density = density.astype(np.complex64, copy=False)
        window = assignment_window(self.mesh.n_mesh, assignment + INTERPOLATION)
        undone = (1 / window).astype(np.float32)
        cells = (0.5 if assignment else 0.0) - self.mesh.n_mesh * observer.position
        origin = cells.astype(np.float32)

        rotation = observer.rotation.astype(np.float32)

        chosen = np.arange(self.shells.n_shells) if which is None else np.asarray(which)
        alm = np.empty((chosen.size, degrees(self.ell_max).size), dtype=complex)
        for cut in np.unique(self.cuts[chosen]):
            field = self._filter(density, undone, cut)
            for row in np.flatnonzero(self.cuts[chosen] == cut):
                i = int(chosen[row])
                alm[row] = self._sum(field, origin, rotation, slopes[i], i)
        return alm

    def _filter(self, density: np.ndarray, undone: np.ndarray, cut: float) -> np.ndarray:
        """Return the density on the mesh without window and wavenumbers beyond the cut, float32."""
        # in units of the box's fundamental mode; rounding must not cost the mode at the cut
        modes = cut * self.mesh.box_mpc_h / (2 * np.pi) * (1 + 1e-6)
        return to_field(_keep_modes(density, undone, modes))

    def _sum(
        self, field: np.ndarray, origin: np.ndarray, rotation: np.ndarray, slope: float, i: int
    ) -> np.ndarray:
        """Return the harmonic coefficients of a field's volume average over shell i."""
        # the quadrature of the fastest mode is good to 3e-5; images of the interpolation cost more
        n_radial = 1.5 + 0.36 * self.cuts[i] * self.shells.thickness_mpc_h
        n_radial = LANES * int(np.ceil(n_radial / LANES))
        chi, weight = self.shells.quadrature(i, n_radial)
        weight = weight * (1 + slope * self.shells.offset(i, chi))
        radii = chi * self.mesh.n_mesh / self.mesh.box_mpc_h
        radii, weight = radii.astype(np.float32), weight.astype(np.float32)
        rings = self.rings[i]
        points = (rings.directions, rings.place, rings.area)
        sky = _sample(field, origin, rotation, *points, radii, weight)
        return rings.analyse(sky, self.ell_max)


def assignment_window(n_mesh: int, order: int) -> np.ndarray:
    """Return the Fourier window of B-splines along an axis (2: linear, 3: TSC), shape (n_mesh,)."""
    return np.sinc(np.fft.fftfreq(n_mesh)) ** order


@compiled("c8[:,:,::1]", "f4[::1]", "f8", parallel=True)
def _keep_modes(density: np.ndarray, factor: np.ndarray, cut: float) -> np.ndarray:
    """Return a Fourier mesh times a factor for each axis, and 0 beyond `cut` fundamental modes."""
    n = density.shape[0]
    kept = np.empty_like(density)
    for i in prange(n):
        kept[i] = 0
        for j in range(n):
            square = cut**2 - min(i, n - i) ** 2 - min(j, n - j) ** 2
            if square >= 0:
                for k in range(min(int(np.sqrt(square)), n // 2) + 1):
                    kept[i, j, k] = density[i, j, k] * (factor[i] * factor[j] * factor[k])
    return kept


@njit(inline="always")
def _turn(axis: Any, direction: Any) -> Any:
    """Return the component of a direction along an axis."""
    return axis[0] * direction[0] + axis[1] * direction[1] + axis[2] * direction[2]


@njit(inline="always")
def _linear(flat: Any, row: Any, k: Any, k1: Any, z: Any) -> Any:
    """Interpolate along the last axis."""
    return flat[row + k] + z * (flat[row + k1] - flat[row + k])


@compiled(
    "f4[:,:,::1]",
    "f4[::1]",
    "f4[:,::1]",
    "f4[::1,:]",
    "i4[::1]",
    "f4[::1]",
    "f4[::1]",
    "f4[::1]",
    fastmath=True,
    parallel=True,
)
def _sample(
    field: np.ndarray,
    origin: np.ndarray,
    rotation: np.ndarray,
    directions: np.ndarray,
    place: np.ndarray,
    area: np.ndarray,
    radii: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Sum weights * field over points along each turned direction, trilinear and periodic.

    Radii are in cells; the mesh point (0, 0, 0) lies at `origin` from the observer. Each sum times
    its area goes to its place. All numbers but places are float32.
    """
    x0, y0, z0 = origin[0], origin[1], origin[2]
    # n is a power of two: a mask wraps negative cells too, several times faster than a division
    n, one = np.int32(field.shape[0]), np.int32(1)
    last, flat = n - one, field.ravel()
    result = np.empty(directions.shape[1], dtype=np.float32)
    for p in prange(result.size):
        along_x = _turn(rotation[0], directions[:, p])
        along_y = _turn(rotation[1], directions[:, p])
        along_z = _turn(rotation[2], directions[:, p])
        total = np.float32(0)
        # loops of a known length become vectors, whatever the number of nodes
        for block in range(radii.size // LANES):
            for lane in range(LANES):
                r = np.uint64(block * LANES + lane)
                x = along_x * radii[r] - x0
                y = along_y * radii[r] - y0
                z = along_z * radii[r] - z0
                fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
                i, j, k = np.int32(fx), np.int32(fy), np.int32(fz)
                x -= fx
                y -= fy
                z -= fz
                i0, i1 = (i & last) * n, ((i + one) & last) * n
                j0, j1 = j & last, (j + one) & last
                # unsigned, as numba would test signed indices for being negative
                k0, k1 = np.uint32(k & last), np.uint32((k + one) & last)
                low = _linear(flat, np.uint32((i0 + j0) * n), k0, k1, z)
                low += y * (_linear(flat, np.uint32((i0 + j1) * n), k0, k1, z) - low)
                high = _linear(flat, np.uint32((i1 + j0) * n), k0, k1, z)
                high += y * (_linear(flat, np.uint32((i1 + j1) * n), k0, k1, z) - high)
                total += weights[r] * (low + x * (high - low))
        result[place[p]] = total * area[p]
    return result
