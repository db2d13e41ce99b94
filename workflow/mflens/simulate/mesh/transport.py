"""Transport of the linear density's phases by their own large-scale flow: still Gaussian.

Structures end some 5 Mpc/h from where they started, which is what limits the correlation of a
linear with an evolved density. Here the white noise z behind the linear density moves with the
flow v of its own large scales while the growth factor D rises from 0,

    dz/dD = -1/2 (v . grad z + div(v z)),   v = -grad laplace^-1 delta_L[z].

The right-hand side is antisymmetric in z, so it keeps sum z^2, and free of divergence in the space
of the modes (Liouville: no mode but the mean, which stays zero, is carried into itself), so the
Gaussian measure is invariant: moved white noise is white noise, and all that theory says of the
linear density stays true at each time.
"""

from collections.abc import Iterator

import numpy as np
from numba import prange

from mflens.compiled import compiled
from mflens.simulate.mesh.lightcone import Mesh
from mflens.simulate.mesh.mesh_fourier import to_field, to_modes
from mflens.theory.spectra import mesh_wavenumbers

SMOOTHING_MPC_H = 14.0  # of the flow: what is smaller moves nothing
STEP = 0.2  # in D
# central differences of eighth order
STENCIL = np.array([4 / 5, -1 / 5, 4 / 105, -1 / 280], dtype=np.float32)


def transport(
    density: np.ndarray, colour: np.ndarray, growth: np.ndarray, mesh: Mesh
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the linear density today with phases of later times, farthest shells first.

    Parameters
    ----------
    density
        Fourier mesh of the linear density today, shape (n, n, n // 2 + 1).
    colour
        What makes it of white noise (`linear_colour`), same shape.
    growth
        Growth factor D of the shells, shape (n_shells,).
    mesh
        The box.

    Yields
    ------
    shells
        Numbers of the shells of one time.
    density
        Fourier mesh of the density for them, not multiplied by D.
    """
    amplitude, axis = flow_amplitude(colour, mesh)
    spectrum = np.divide(density, colour, out=np.zeros_like(density), where=colour > 0)
    field, before = to_field(spectrum.copy()), spectrum
    n_steps = np.maximum(1, np.rint(growth / STEP).astype(int))
    for step in range(1, n_steps.max() + 1):
        field = advance(field, to_field(_flow_modes(spectrum, before, amplitude, axis)))
        before, spectrum = spectrum, to_modes(field)
        shells = np.flatnonzero(n_steps == step)
        if shells.size:
            yield shells, spectrum * colour


def flow_amplitude(colour: np.ndarray, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Return what makes the noise its flow, in cells per step, and the wavenumbers of an axis.

    Times i k along an axis; shapes (n, n, n // 2 + 1) and (n,), float32.
    """
    n, box = mesh.n_mesh, mesh.box_mpc_h
    k = mesh_wavenumbers(n, box)
    k[0, 0, 0] = 1.0
    amplitude = STEP * colour * np.exp(-0.5 * (SMOOTHING_MPC_H * k) ** 2) / k**2 * n / box
    axis = 2 * np.pi / box * np.fft.fftfreq(n, 1 / n)
    return amplitude.astype(np.float32), axis.astype(np.float32)


@compiled("c8[:,:,::1]", "c8[:,:,::1]", "f4[:,:,::1]", "f4[::1]", parallel=True)
def _flow_modes(
    now: np.ndarray, before: np.ndarray, amplitude: np.ndarray, axis: np.ndarray
) -> np.ndarray:
    """Return Fourier meshes of the flow in the middle of the step ahead, for each axis."""
    n, half = axis.size, now.shape[2]
    modes = np.empty((3, n, n, half), dtype=np.complex64)
    for i in prange(n):
        for j in range(n):
            for k in range(half):
                middle = np.float32(1.5) * now[i, j, k] - np.float32(0.5) * before[i, j, k]
                flow = amplitude[i, j, k] * complex(-middle.imag, middle.real)
                modes[0, i, j, k] = axis[i] * flow
                modes[1, i, j, k] = axis[j] * flow
                modes[2, i, j, k] = abs(axis[k]) * flow
    return modes


def advance(field: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return the field after a step, by the Runge-Kutta scheme of fourth order."""
    result, term = field.copy(), field
    for order in range(1, 5):
        term = _antisymmetric(term, flow, STENCIL / np.float32(order))
        # the mean is no mode: it would take the large scales' power
        term -= term.mean()
        result += term
    return result


@compiled("f4[:,:,::1]", "f4[:,:,:,::1]", "f4[::1]", fastmath=True, parallel=True)
def _antisymmetric(field: np.ndarray, flow: np.ndarray, stencil: np.ndarray) -> np.ndarray:
    """Return -1/2 (v . grad + div v) of a periodic field in cells, an antisymmetric matrix."""
    n = field.shape[0]
    last = n - 1
    result = np.empty_like(field)
    for i in prange(n):
        for j in range(n):
            row = np.zeros(n, dtype=np.float32)
            for m in range(1, stencil.size + 1):
                c = np.float32(0.5) * stencil[m - 1]
                i1, i0, j1, j0 = (i + m) & last, (i - m) & last, (j + m) & last, (j - m) & last
                for k in range(n):
                    x, y = flow[0, i, j, k], flow[1, i, j, k]
                    total = (x + flow[0, i1, j, k]) * field[i1, j, k]
                    total -= (x + flow[0, i0, j, k]) * field[i0, j, k]
                    total += (y + flow[1, i, j1, k]) * field[i, j1, k]
                    total -= (y + flow[1, i, j0, k]) * field[i, j0, k]
                    row[k] -= c * total
                for k in range(n):
                    k1, k0, z = (k + m) & last, (k - m) & last, flow[2, i, j, k]
                    total = (z + flow[2, i, j, k1]) * field[i, j, k1]
                    total -= (z + flow[2, i, j, k0]) * field[i, j, k0]
                    row[k] -= c * total
            result[i, j] = row
    return result
