"""Tiers `lpt` and `particle_mesh`: PySCo on the light cone.

Both start from the linear density of the draw, whose phases the lognormal tier shares; no
snapshot goes to disk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
import pandas as pd
from numba import njit, prange

from mflens.compiled import compiled
from mflens.simulate import harmonics
from mflens.simulate.mesh.engine import fourier, initial_conditions, mesh, utils
from mflens.simulate.mesh.lightcone import LightCone
from mflens.simulate.mesh.mesh_fourier import to_field, to_modes
from mflens.simulate.tiers import Draw, Sky
from mflens.theory.cosmology import Cosmology
from mflens.theory.growth import Growth

TSC = 3
STENCIL = 7  # points of PySCo's finite differences


class LagrangianPerturbation:
    """Particles displaced by Lagrangian perturbation theory to each shell's epoch.

    Parameters
    ----------
    sky
        The discretisation.
    order
        1 (Zel'dovich) or 2.
    """

    def __init__(self, sky: Sky, order: int) -> None:
        self.sky = sky
        self.order = order
        self.lightcone = LightCone(sky.shells, sky.mesh, sky.ell_max)

    def density_shells(self, cosmology: Cosmology, draw: Draw) -> np.ndarray:
        """Return the shells, shape (n_shells, n_pix), float32; see `Tier`."""
        # the box evolves once for all who observe it
        if self not in draw.shared:
            draw.shared[self] = self.coefficients(cosmology, draw)
        alm = draw.shared[self][draw.number]
        return harmonics.synthesise_many(alm, self.sky.nside, self.sky.ell_max)

    def coefficients(self, cosmology: Cosmology, draw: Draw) -> np.ndarray:
        """Return the harmonic coefficients of all shells, shape (n_observers, n_shells, n_alm)."""
        n_alm = harmonics.degrees(self.sky.ell_max).size
        shape = (len(draw.observers), self.sky.shells.n_shells, n_alm)
        alm = np.empty(shape, dtype=np.complex64)
        slopes = cosmology.shell_growth.slope
        for i, density in self.evolve(cosmology, draw.linear_density):
            for number, observer in enumerate(draw.observers):
                alm[number, i] = self.lightcone.project(density, slopes, TSC, [i], observer)[0]
        return alm

    def evolve(
        self, cosmology: Cosmology, linear_density: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the number of each shell and the density mesh of its time, in any order."""
        particles = Particles(cosmology, linear_density, self.sky.mesh.box_mpc_h)
        for i, z in enumerate(cosmology.shell_growth.z):
            position, _ = particles.displace(1 / (1 + z), self.order)
            yield i, mesh_density(position, self.sky.mesh.n_mesh)


class ParticleMesh(LagrangianPerturbation):
    """An N-body run with PySCo's particle-mesh forces and a leapfrog like its own.

    The time steps end on the epochs of the shells, farthest first, so that each shell is projected
    from the density of its own time.

    Parameters
    ----------
    sky
        The discretisation.
    z_start
        Redshift of the 2LPT initial conditions.
    max_step_ln_a
        Longest time step in ln a.
    """

    def __init__(self, sky: Sky, z_start: float, max_step_ln_a: float) -> None:
        super().__init__(sky, order=2)
        self.z_start = z_start
        self.max_step_ln_a = max_step_ln_a

    def evolve(
        self, cosmology: Cosmology, linear_density: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the number of each shell and the density mesh of its time, farthest first."""
        particles = Particles(cosmology, linear_density, self.sky.mesh.box_mpc_h)
        # where there is much matter, shells that other cosmologies need may stand before z_start
        ln_start = -np.log1p(max(self.z_start, cosmology.shell_growth.z[-1]))
        state = particles.start(np.exp(ln_start))
        for i in reversed(range(self.sky.shells.n_shells)):
            ln_end = -np.log1p(cosmology.shell_growth.z[i])
            n_steps = int(np.ceil((ln_end - ln_start) / self.max_step_ln_a))
            for ln_a in np.linspace(ln_start, ln_end, n_steps + 1)[1:]:
                particles.step(state, np.exp(ln_a))
            ln_start = ln_end
            yield i, state.density


@dataclass
class State:
    """Particles at one time, in PySCo's units.

    Attributes
    ----------
    a
        Scale factor.
    position, velocity, acceleration
        Shape (n_particles, 3), float32; positions in units of the box.
    density
        Fourier mesh of their density contrast (`mesh_density`).
    """

    a: float
    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    density: np.ndarray


class Particles:
    """Particles of one box, driven by PySCo.

    Parameters
    ----------
    cosmology
        The cosmology; its growth table sets the clock.
    density
        Fourier mesh of the linear density today, shape (n, n, n // 2 + 1).
    box
        Side of the box in Mpc/h.
    """

    def __init__(self, cosmology: Cosmology, density: np.ndarray, box: float) -> None:
        self.growth: Growth = cosmology.growth
        self.Omega_m = cosmology.parameters["Omega_m"]
        self.n = density.shape[0]
        self.n_threads = numba.get_num_threads()
        self.param = pd.Series(
            {"nthreads": self.n_threads, "dealiased_ICS": False, "position_ICS": "edge"}
        )
        potential = density.astype(np.complex64)
        fourier.inverse_laplacian(potential)
        self.first = self._gradient(potential)
        second = fourier.fft_3D_real(
            initial_conditions.compute_2ndorder_rhs(potential, self.param), self.n_threads
        )
        fourier.inverse_laplacian(second)
        self.second = self._gradient(second)

    def _gradient(self, potential: np.ndarray) -> np.ndarray:
        return fourier.ifft_3D_real_grad(fourier.gradient(potential), self.n_threads)

    def displace(self, a: float, order: int = 2) -> tuple[np.ndarray, np.ndarray]:
        """Return positions in box units and velocities in PySCo's units at scale factor a.

        References
        ----------
        Scoccimarro 1998, astro-ph/9711187, appendix.
        """
        hubble = self.growth.at("expansion", a) * a**2
        d1, d2 = (np.float32(self.growth.at(name, a)) for name in ("first", "second"))
        f1, f2 = (
            np.float32(self.growth.at(name, a) * hubble) for name in ("first_rate", "second_rate")
        )
        position, velocity = initial_conditions.initialise_1LPT(self.first, d1, f1, self.param)
        if order == 2:
            initial_conditions.add_nLPT(position, velocity, self.second, d2, f2)
        position, velocity = position.reshape(-1, 3), velocity.reshape(-1, 3)
        utils.periodic_wrap(position)
        return position, velocity

    def start(self, a: float) -> State:
        """Return the initial conditions at scale factor a."""
        position, velocity = self.displace(a)
        return State(a, position, velocity, *self.accelerate(position, a))

    def step(self, state: State, a: float) -> None:
        """Move the state one leapfrog step on, to scale factor a: kick, drift, kick."""
        duration = np.float32(self.growth.at("time", a) - self.growth.at("time", state.a))
        half = np.float32(0.5 * duration)
        utils.add_vector_scalar_inplace(state.velocity, state.acceleration, -half)
        utils.add_vector_scalar_inplace(state.position, state.velocity, duration)
        utils.periodic_wrap(state.position)
        state.a = a
        state.acceleration, state.density = self.accelerate(state.position, a)
        utils.add_vector_scalar_inplace(state.velocity, state.acceleration, -half)

    def accelerate(self, position: np.ndarray, a: float) -> tuple[np.ndarray, np.ndarray]:
        """Return minus the acceleration, PySCo's sign, and the density mesh it comes from.

        The forces are those of PySCo's `solver.pm`: TSC twice and its window undone. That
        function keeps its density to itself, and the light cone needs it.
        """
        density = mesh_density(position, self.n)
        source = _scale(density, _green(self.n), np.float32(1.5 * a * self.Omega_m))
        force = mesh.derivative(to_field(source), STENCIL)
        return _interpolate(force, position, self.n_threads), density


def mesh_density(position: np.ndarray, n_mesh: int) -> np.ndarray:
    """Return the Fourier mesh of the density contrast of particles, TSC assignment.

    Parameters
    ----------
    position
        In box units, shape (n_particles, 3), float32.
    n_mesh
        Cells per side.

    Returns
    -------
    array
        numpy's rfftn convention, shape (n, n, n // 2 + 1), complex64. As PySCo has it, cell i is
        centred on (i + 1/2) / n.
    """
    n_threads = numba.get_num_threads()
    mass = np.float32(n_mesh**3 / position.shape[0])
    density = to_modes(_assign(position, mass, n_mesh, n_threads))
    density[0, 0, 0] = 0
    return density


@compiled("f4[:,::1]", "f4", "i8", "i8", parallel=True)
def _assign(position: np.ndarray, mass: np.float32, n: int, n_threads: int) -> np.ndarray:
    """Return the mass of the particles in each cell, triangular-shaped clouds, shape (n, n, n).

    PySCo's own assignment runs on one thread below four; here each thread fills a mesh.
    """
    parts = np.empty((n_threads, n**3), dtype=np.float32)
    share = -(-position.shape[0] // n_threads)
    for thread in prange(n_threads):
        parts[thread] = 0
        _add_clouds(parts[thread], position[thread * share : (thread + 1) * share], n)
    cells = parts[0]
    for cell in prange(n**3):
        for thread in range(1, n_threads):
            cells[cell] += parts[thread, cell]
        cells[cell] *= mass
    return cells.reshape(n, n, n)


@compiled("c8[:,:,::1]", "f4[:,:,::1]", "f4", parallel=True)
def _scale(density: np.ndarray, factor: np.ndarray, constant: np.float32) -> np.ndarray:
    """Return a Fourier mesh times a mesh of factors and a constant."""
    result = np.empty_like(density)
    flat, factors, product = density.ravel(), factor.ravel(), result.ravel()
    for i in prange(flat.size):
        product[i] = flat[i] * (factors[i] * constant)
    return result


@compiled(fastmath=True)
def _add_clouds(cells: np.ndarray, position: np.ndarray, n: int) -> None:
    """Add triangular-shaped clouds to the cells of a mesh, shape (n^3,)."""
    for p in range(position.shape[0]):
        i, x = _share_out(position[p, 0], n)
        j, y = _share_out(position[p, 1], n)
        k, z = _share_out(position[p, 2], n)
        for a in range(3):
            for b in range(3):
                row, weight = (i[a] * n + j[b]) * n, x[a] * y[b]
                cells[np.uint64(row + k[0])] += weight * z[0]
                cells[np.uint64(row + k[1])] += weight * z[1]
                cells[np.uint64(row + k[2])] += weight * z[2]


@compiled("f4[:,:,:,::1]", "f4[:,::1]", "i8", parallel=True)
def _interpolate(field: np.ndarray, position: np.ndarray, n_threads: int) -> np.ndarray:
    """Return a vector field, shape (n, n, n, 3), at the particles, triangular-shaped clouds."""
    values, flat = np.empty_like(position), field.ravel()
    share = -(-position.shape[0] // n_threads)
    for thread in prange(n_threads):
        part = slice(thread * share, (thread + 1) * share)
        _gather_clouds(values[part], flat, position[part], field.shape[0])
    return values


# not reassociated: the copy of it in `_interpolate` has the digits of the function itself
@compiled(fastmath={"contract"})
def _gather_clouds(values: np.ndarray, flat: np.ndarray, position: np.ndarray, n: int) -> None:
    """Sum the cells of a flat vector field, weighted by triangular-shaped clouds."""
    for p in range(position.shape[0]):
        i, x = _share_out(position[p, 0], n)
        j, y = _share_out(position[p, 1], n)
        k, z = _share_out(position[p, 2], n)
        u = v = w = np.float32(0)
        for a in range(3):
            for b in range(3):
                row, weight = (i[a] * n + j[b]) * n, x[a] * y[b]
                for c in range(3):
                    cell = np.uint64(3 * (row + k[c]))
                    u += weight * z[c] * flat[cell]
                    v += weight * z[c] * flat[cell + np.uint64(1)]
                    w += weight * z[c] * flat[cell + np.uint64(2)]
        values[p, 0], values[p, 1], values[p, 2] = u, v, w


@njit(inline="always")
def _share_out(x: Any, n: Any) -> tuple[Any, Any]:
    """Return the three cells along an axis that a particle at x, in box units, has a part in."""
    half = np.float32(0.5)
    x *= np.float32(n)
    cell = np.int64(x)
    x -= np.float32(cell) + half
    cells = ((cell - 1) & (n - 1), cell & (n - 1), (cell + 1) & (n - 1))
    return cells, (half * (half - x) ** 2, np.float32(0.75) - x**2, half * (half + x) ** 2)


@cache
def _green(n: int) -> np.ndarray:
    """Return PySCo's Green function with the windows of both TSC assignments undone."""
    ones = np.ones((n, n, n // 2 + 1), dtype=np.complex64)
    fourier.inverse_laplacian_compensated(ones, TSC)
    return ones.real.copy()
