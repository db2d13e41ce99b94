"""Angular power spectra of density shells, beyond Limber, from precomputed kernels.

The kernels oscillate and want thousands of wavenumbers, the power spectrum is smooth and wants a
hundred. What belongs to the kernels is summed once, so that a new cosmology costs milliseconds.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from mflens.parameters import Z_FAR
from mflens.theory.distances import Distances
from mflens.theory.growth import Growth
from mflens.theory.kernels import Shells
from mflens.theory.power import Power

N_QUADRATURE = 8  # nodes in a shell
SAME_TIME = 1e-9  # difference of the growth factor
DIGITS = 9  # of a redshift, behind the point


@dataclass(frozen=True)
class ShellGrowth:
    """Linear growth averaged over each shell and its slope inside.

    Attributes
    ----------
    z
        Redshift at which D equals the shell's mean, shape (n_shells,).
    mean
        Volume-averaged D, shape (n_shells,).
    slope
        d ln D per shell thickness, shape (n_shells,).
    """

    z: np.ndarray
    mean: np.ndarray
    slope: np.ndarray


def shell_growth(shells: Shells, distances: Distances, growth: Growth) -> ShellGrowth:
    """Average the growth factor over the shells; beyond `Z_FAR` it stands still.

    Parameters
    ----------
    shells
        The shells.
    distances, growth
        Those of one cosmology.
    """
    parts = [shells.quadrature(i, N_QUADRATURE) for i in range(shells.n_shells)]
    # all at once; shells with soft edges have more nodes than others
    z = np.minimum(distances.redshift(np.concatenate([nodes for nodes, _ in parts])), Z_FAR)
    ends = np.cumsum([len(nodes) for nodes, _ in parts])[:-1]
    by_shell = np.split(growth.at("first", 1 / (1 + z)), ends)
    mean, slope = np.empty(shells.n_shells), np.empty(shells.n_shells)
    for i, (d, (nodes, weights)) in enumerate(zip(by_shell, parts, strict=True)):
        x = shells.offset(i, nodes)
        mean[i] = weights @ d
        slope[i] = (weights @ (x * d)) / (weights @ x**2) / mean[i]
    ln_a = np.interp(mean, growth.first, growth.ln_a)
    # shells of one time have one redshift
    return ShellGrowth(z=np.round(np.expm1(-ln_a), DIGITS), mean=mean, slope=slope)


def compress_kernels(kernels: np.ndarray, k: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Sum products of kernels over k against the spline through the power at a few nodes.

    sqrt(P_i P_j)(k) = sum_b B_b(k) sqrt(P_i P_j)(k_b) with B_b the cardinal cubic splines in ln k;
    the weights are (2/pi) int k^2 dk B_b(k) Delta_l^{i,p}(k) Delta_l^{j,q}(k).

    Parameters
    ----------
    kernels
        Output of `compute_kernels`, shape (n_ell, n_shells, 2, n_k).
    k
        Wavenumbers in h/Mpc, shape (n_k,).
    nodes
        Output of `node_wavenumbers`, in h/Mpc, shape (n_nodes,).

    Returns
    -------
    array
        For `shell_spectra`: shape (n_pairs, n_ell, 4 n_nodes), in (h/Mpc)^3, float32. Pairs are in
        numpy's order of the lower triangle; pq runs over 00, 01, 10, 11.
    """
    splines = CubicSpline(np.log(nodes), np.eye(nodes.size))(np.log(k))
    basis = (continuum_measure(k)[:, None] * splines).astype(np.float32)
    pairs = list(zip(*np.tril_indices(kernels.shape[1]), strict=True))
    weights = np.empty((len(pairs), kernels.shape[0], 4 * nodes.size), dtype=np.float32)
    for n, (i, j) in enumerate(pairs):
        products = kernels[:, i, :, None] * kernels[:, j, None]
        weights[n] = (products.reshape(-1, k.size) @ basis).reshape(kernels.shape[0], -1)
        weights[n][np.abs(weights[n]) < np.finfo(np.float32).tiny] = 0
    return weights


def shell_spectra(weights: np.ndarray, growth: ShellGrowth, power: np.ndarray) -> np.ndarray:
    """Return C_l^{ij} of the density contrast in all pairs of shells, in infinite space.

    ASSUME between shells sqrt(P_i(k) P_j(k)) stands for the power at unequal times, and inside a
    shell the root of the power is linear in distance at each k.

    Parameters
    ----------
    weights
        Output of `compress_kernels`, shape (n_pairs, n_ell, 4 n_nodes).
    growth
        Growth in the shells.
    power
        Matter power in each shell in (Mpc/h)^3, shape (n_shells, n_nodes).

    Returns
    -------
    array
        Shape (n_ell, n_shells, n_shells).
    """
    n_shells = power.shape[0]
    # non-linear power grows faster than D^2: d ln sqrt(P) / d ln D, 1 if linear; shells of one
    # time, beyond Z_FAR, have no slope to multiply
    apart = np.append(True, np.diff(growth.mean) < -SAME_TIME)
    rate = np.ones_like(power)
    rate[apart] = np.gradient(0.5 * np.log(power[apart]), np.log(growth.mean[apart]), axis=0)
    slope = growth.slope[:, None] * rate
    i, j = np.tril_indices(n_shells)
    moments = np.stack([np.ones_like(slope[i]), slope[j], slope[i], slope[i] * slope[j]], axis=1)
    root = np.sqrt(power)
    values = (moments * (root[i] * root[j])[:, None]).astype(np.float32)
    spectra = np.empty((weights.shape[1], n_shells, n_shells))
    spectra[:, i, j] = np.matmul(weights, values.reshape(i.size, -1, 1))[..., 0].T
    spectra[:, j, i] = spectra[:, i, j]
    return spectra


def matter_spectra(
    kernels: np.ndarray, k: np.ndarray, growth: ShellGrowth, power: np.ndarray, measure: np.ndarray
) -> np.ndarray:
    """Return C_l^{ij} of the density contrast in all pairs of shells, with linear growth inside.

    C_l^{ij} = sum_k measure(k) Delta_l^i(k) Delta_l^j(k) sqrt(P_i(k) P_j(k))

    Parameters
    ----------
    kernels, k
        As for `compress_kernels`.
    growth, power
        As for `shell_spectra`, but on all wavenumbers: power has shape (n_shells, n_k).
    measure
        `continuum_measure` for infinite space, `lattice_measure` for a periodic box, 1 where the
        power includes it.

    Returns
    -------
    array
        Shape (n_ell, n_shells, n_shells).
    """
    root = np.sqrt(power * measure).astype(np.float32)
    delta = kernels[:, :, 1] * growth.slope.astype(np.float32)[:, None]
    delta += kernels[:, :, 0]
    delta *= root
    return np.matmul(delta, delta.transpose(0, 2, 1)).astype(float)


def continuum_measure(k: np.ndarray) -> np.ndarray:
    """Return (2/pi) k^2 dk by the trapezium rule, in (h/Mpc)^3, shape (n_k,)."""
    return 2 / np.pi * k**2 * np.gradient(k)


def lattice_measure(k: np.ndarray, n_mesh: int, box: float) -> np.ndarray:
    """Return the measure of a periodic box: its discrete modes, shared out to the grid.

    The mean over m of the projected power is (4 pi / V) sum over lattice modes of P Delta_l^2, of
    which the integral with (2/pi) k^2 dk is the continuum limit.

    Parameters
    ----------
    k
        Wavenumbers in h/Mpc, shape (n_k,), ascending.
    n_mesh
        Mesh cells per side, an even number.
    box
        Side of the box in Mpc/h.
    """
    # the half-complex mesh stands for both signs of k_z, but for its first and last plane
    signs = np.full((n_mesh, n_mesh, n_mesh // 2 + 1), 2.0)
    signs[..., [0, -1]] = 1.0
    signs[0, 0, 0] = 0.0
    counts = signs.ravel()
    modes = mesh_wavenumbers(n_mesh, box).ravel()
    # modes beyond the grid are dropped
    right, fraction = grid_shares(k, modes)
    counts = np.where((fraction >= 0) & (fraction <= 1), counts, 0.0)
    total = np.bincount(right - 1, counts * (1 - fraction), minlength=k.size)
    total += np.bincount(right, counts * fraction, minlength=k.size)
    return 4 * np.pi / box**3 * total


def grid_shares(k: np.ndarray, modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how wavenumbers are shared linearly between their neighbours on a grid.

    Parameters
    ----------
    k
        The grid in h/Mpc, shape (n_k,), ascending.
    modes
        Wavenumbers in h/Mpc, any shape.

    Returns
    -------
    right, fraction
        Number of the right neighbour and its share, outside of [0, 1] for modes beyond the grid;
        of the shape of `modes`.
    """
    right = np.clip(np.searchsorted(k, modes), 1, k.size - 1)
    return right, (modes - k[right - 1]) / (k[right] - k[right - 1])


def mesh_wavenumbers(n_mesh: int, box: float) -> np.ndarray:
    """Return |k| in h/Mpc of the half-complex Fourier mesh, shape (n, n, n // 2 + 1)."""
    k = 2 * np.pi / box * np.fft.fftfreq(n_mesh, 1 / n_mesh)
    kz = 2 * np.pi / box * np.arange(n_mesh // 2 + 1)
    return np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + kz[None, None, :] ** 2)


def interpolate_power(power: Power, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate linear (n_k,) and non-linear (n_z, n_k) power to k, log-log and cubic."""
    values = interpolate_log(power.k, np.vstack([power.linear, power.nonlinear]), k)
    return values[0], values[1:]


def interpolate_log(k: np.ndarray, power: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Interpolate power, shape (..., n_k), to the wavenumbers `at`: cubic in log-log.

    Wavenumbers beyond the table get its end values.
    """
    x = np.log(np.clip(at, k[0], k[-1]))
    return np.exp(CubicSpline(np.log(k), np.log(power), axis=-1)(x))
