"""Tiers `lpt` and `particle_mesh`: PySCo on the light cone.

Both start from the linear density of the draw, whose phases the lognormal tier shares; no
snapshot goes to disk.
"""

from collections.abc import Iterator

import numba
import numpy as np
import pandas as pd
from scipy.interpolate import interp1d

from mflens.simulate import harmonics
from mflens.simulate.engine import (
    fourier,
    initial_conditions,
    integration,
    mesh,
    solver,
    utils,
)
from mflens.simulate.lightcone import LightCone
from mflens.simulate.tiers import Draw, Sky
from mflens.theory.cosmology import Cosmology
from mflens.theory.growth import Growth

TSC = 3


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

    def density_shells(self, cosmology: Cosmology, draw: Draw) -> Iterator[np.ndarray]:
        """Yield the shells; see `Tier`."""
        particles = Particles(cosmology, draw.linear_density, self.sky.mesh.box_mpc_h)
        for i, z in enumerate(cosmology.shell_growth.z):
            position, _ = particles.displace(1 / (1 + z), self.order)
            yield self._shell(position, cosmology, i)

    def _shell(self, position: np.ndarray, cosmology: Cosmology, i: int) -> np.ndarray:
        density = mesh_density(position, self.sky.mesh.n_mesh)
        slopes = cosmology.shell_growth.slope
        alm = self.lightcone.project(density, slopes, assignment=TSC, only=i)
        return harmonics.synthesise(alm, self.sky.nside, self.sky.ell_max)


class ParticleMesh(LagrangianPerturbation):
    """An N-body run with PySCo's particle-mesh solver and leapfrog.

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

    def density_shells(self, cosmology: Cosmology, draw: Draw) -> Iterator[np.ndarray]:
        """Yield the shells; see `Tier`."""
        particles = Particles(cosmology, draw.linear_density, self.sky.mesh.box_mpc_h)
        ln_start = -np.log1p(self.z_start)
        state = particles.start(np.exp(ln_start))
        maps: list[np.ndarray] = []
        for i in reversed(range(self.sky.shells.n_shells)):
            ln_end = -np.log1p(cosmology.shell_growth.z[i])
            n_steps = int(np.ceil((ln_end - ln_start) / self.max_step_ln_a))
            for ln_a in np.linspace(ln_start, ln_end, n_steps + 1)[1:]:
                state = particles.step(state, np.exp(ln_a))
            ln_start = ln_end
            maps.append(self._shell(state[0], cosmology, i))
        yield from reversed(maps)


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
        n = density.shape[0]
        self.growth: Growth = cosmology.growth
        self.param = pd.Series(
            {
                "theory": "newton", "H0": 100 * cosmology.parameters["h"],
                "Om_m": cosmology.parameters["Omega_m"], "boxlen": box, "npart": n**3,
                "ncoarse": int(np.log2(n)), "mass_scheme": "TSC",
                "nthreads": numba.get_num_threads(),
                "linear_newton_solver": "fft", "gradient_stencil_order": 7,
                "save_power_spectrum": "no",
                "write_snapshot": False, "dealiased_ICS": False, "position_ICS": "edge",
            }
        )  # fmt: skip
        self.clock = [interp1d(self.growth.time, self.growth.ln_a, fill_value="extrapolate")]
        potential = density.astype(np.complex64)
        fourier.inverse_laplacian(potential)
        self.first = _gradient(potential)
        second = fourier.fft_3D_real(
            initial_conditions.compute_2ndorder_rhs(potential, self.param),
            self.param["nthreads"],
        )
        fourier.inverse_laplacian(second)
        self.second = _gradient(second)

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

    def start(self, a: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return position, velocity and acceleration of the initial conditions at a."""
        position, velocity = self.displace(a)
        self._set_time(a)
        return position, velocity, solver.pm(position, self.param)[0]

    def step(
        self, state: tuple[np.ndarray, np.ndarray, np.ndarray], a: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the state one leapfrog step later, at scale factor a."""
        empty = np.empty(0, dtype=np.float32)
        duration = np.float32(self.growth.at("time", a) - self.param["t"])
        moved = integration.leapfrog(*state, empty, empty, duration, self.clock, self.param)
        self._set_time(a)
        return moved[:3]

    def _set_time(self, a: float) -> None:
        self.param["aexp"] = a
        self.param["t"] = float(self.growth.at("time", a))
        utils.set_units(self.param)


def mesh_density(position: np.ndarray, n_mesh: int) -> np.ndarray:
    """Return the Fourier mesh of the density contrast of particles, TSC assignment.

    Parameters
    ----------
    position
        In box units, shape (n_particles, 3), float32.
    n_mesh
        Cells per side.
    """
    density = mesh.TSC_seq(position, n_mesh)
    # PySCo's cell i is centred on (i + 1/2) / n; the light cone counts from mesh points
    density = np.fft.rfftn(density * (n_mesh**3 / position.shape[0]) - 1)
    return density * _half_cell_shift(n_mesh)


def _half_cell_shift(n: int) -> np.ndarray:
    """Return the phases that move a field by half a cell along each axis."""
    x = np.exp(-1j * np.pi * np.fft.fftfreq(n))
    z = np.exp(-1j * np.pi * np.arange(n // 2 + 1) / n)
    return x[:, None, None] * x[None, :, None] * z[None, None, :]


def _gradient(potential: np.ndarray) -> np.ndarray:
    return fourier.ifft_3D_real_grad(fourier.gradient(potential), 1)
