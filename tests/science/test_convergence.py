"""Power of the particle-mesh runs against HMCode-2020: steps, start, mesh and box.

`pytest -s` prints the table that stands in workflow/report/particle_mesh.md.
"""

import numpy as np
import pytest

from mflens.simulate.mesh.lightcone import Mesh, assignment_window
from mflens.simulate.mesh.matching import linear_density
from mflens.simulate.mesh.particles import TSC, Particles
from mflens.simulate.randomness import BaseMeasure
from mflens.theory.power import compute_power
from mflens.theory.spectra import interpolate_log, mesh_wavenumbers

REDSHIFTS = (1.0, 0.5, 0.0)
# of the mesh's Nyquist wavenumber
BANDS = (0.05, 0.15, 0.3, 0.5, 0.7)
DEFAULT = {"n_mesh": 64, "box": 1000.0, "z_start": 9.0, "step": 0.15}
SEEDS = range(2)


def power_ratio(world, seed, n_mesh, box, z_start, step):
    """Return P of the particles over that of HMCode, shape (n_z, n_bands).

    Both are relative to the linear power, of the same modes and of theory: cosmic variance
    cancels as far as modes grow by themselves.
    """
    mesh, cosmology = Mesh(n_mesh, box, 128), world.cosmology
    linear = linear_density(BaseMeasure(seed), mesh, cosmology.k, cosmology.linear)
    particles = Particles(cosmology, linear, box)
    axis = assignment_window(n_mesh, TSC)
    window = axis[:, None, None] * axis[:, None] * axis[: n_mesh // 2 + 1]
    k = mesh_wavenumbers(n_mesh, box)
    k[0, 0, 0] = k[0, 0, 1]
    band = np.digitize(k, np.pi * n_mesh / box * np.array(BANDS)).ravel()
    signs = np.full(k.shape, 2.0)
    signs[..., [0, -1]] = 1.0

    def sums(values):
        return np.bincount(band, (signs * values).ravel(), minlength=len(BANDS) + 1)[1:-1]

    z = np.array(REDSHIFTS)
    theory = compute_power(cosmology.parameters, z, 5.0, "mead2020")
    rows, state = [], particles.start(1 / (1 + z_start))
    for i in range(z.size):
        ln_start, ln_end = np.log(state.a), -np.log1p(z[i])
        n_steps = int(np.ceil((ln_end - ln_start) / step))
        for ln_a in np.linspace(ln_start, ln_end, n_steps + 1)[1:]:
            particles.step(state, np.exp(ln_a))
        measured = sums(np.abs(state.density / window) ** 2) / sums(np.abs(linear) ** 2)
        growth = interpolate_log(theory.k, theory.nonlinear[i] / theory.linear, k)
        colour = interpolate_log(theory.k, theory.linear, k)
        rows.append(measured * sums(colour) / sums(colour * growth))
    return np.array(rows)


@pytest.mark.accuracy
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"step": 0.3},
        {"step": 0.075},
        {"z_start": 4.0},
        {"n_mesh": 128},
        {"n_mesh": 128, "box": 500.0},
    ],
    ids=str,
)
def test_power_follows_hmcode(world, change):
    ratio = np.mean([power_ratio(world, seed, **(DEFAULT | change)) for seed in SEEDS], axis=0)
    for z, row in zip(REDSHIFTS, ratio, strict=True):
        print(f"| {DEFAULT | change} | {z} | " + " | ".join(f"{x:.3f}" for x in row) + " |")
    # k < 0.3 k_Nyquist
    assert np.all(np.abs(ratio[:, :2] - 1) < 0.05)
