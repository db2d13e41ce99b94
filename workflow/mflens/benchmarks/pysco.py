"""A box of particles that PySCo's own integrator and solver move."""

import numba
import numpy as np
import pandas as pd
from scipy.interpolate import interp1d

from mflens.simulate.mesh import engine, particles

EMPTY = np.empty(0, dtype=np.float32)


class Box:
    """A copy of the particles of a sim.

    Parameters
    ----------
    source
        The sim's `Particles`.
    state
        Their state.
    box
        Side in Mpc/h.
    """

    def __init__(self, source: particles.Particles, state: particles.State, box: float) -> None:
        self.growth, self.leapfrog = source.growth, engine.load("integration").leapfrog
        self.param = pd.Series(
            {
                "theory": "newton", "H0": 70.0, "Om_m": source.Omega_m, "boxlen": box,
                "npart": source.n**3, "ncoarse": int(np.log2(source.n)), "mass_scheme": "TSC",
                "nthreads": numba.get_num_threads(), "linear_newton_solver": "fft",
                "gradient_stencil_order": particles.STENCIL, "save_power_spectrum": "no",
                "write_snapshot": False,
            }
        )  # fmt: skip
        self.clock = [interp1d(self.growth.time, self.growth.ln_a, fill_value="extrapolate")]
        self.set_time(state.a)
        self.state = [one.copy() for one in (state.position, state.velocity, state.acceleration)]

    def set_time(self, a: float) -> None:
        """Set PySCo's clock."""
        self.param["aexp"], self.param["t"] = a, float(self.growth.at("time", a))

    def step(self, a: float) -> None:
        """Move on to scale factor a: kick, drift, kick."""
        duration = np.float32(self.growth.at("time", a) - self.param["t"])
        moved = self.leapfrog(*self.state, EMPTY, EMPTY, duration, self.clock, self.param)
        self.state = list(moved[:3])
        self.set_time(a)
