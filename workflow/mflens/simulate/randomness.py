"""The base measure: every random number of a simulation, named by its seed.

Each purpose has streams of its own, so that a change in one (another mask, another tier) leaves
the others as they are, and both members of a pair draw the same noise.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from mflens.simulate.threads import spread

PURPOSES = ("harmonics", "mesh", "fill", "noise", "counts", "observer")


@dataclass(frozen=True)
class BaseMeasure:
    """The random numbers of one simulation.

    Attributes
    ----------
    seed
        64-bit seed of the simulation.
    """

    seed: int

    def rng(self, purpose: str, *key: int) -> np.random.Generator:
        """Return the generator of a purpose and a key, such as the shell's number."""
        spawn_key = (PURPOSES.index(purpose), *key)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=spawn_key))

    def white_noise(self, n_mesh: int) -> np.ndarray:
        """Return unit white noise on the mesh, shape (n_mesh, n_mesh, n_mesh), float32."""
        return self.rng("mesh").standard_normal((n_mesh,) * 3, dtype=np.float32)

    def complex_normals(self, n: int, purpose: str, *key: int) -> np.ndarray:
        """Return complex normal numbers with <|z|^2> = 1, shape (n,), complex64.

        A smaller n gives a prefix of the same numbers. Roots of exponential numbers with uniform
        phases (Box & Muller 1958) take half the time of pairs of normal numbers.
        """
        moduli, phases = (self.rng(purpose, *key, part) for part in range(2))
        modulus = np.sqrt(moduli.standard_exponential(n, dtype=np.float32))
        phase = np.float32(2 * np.pi) * phases.random(n, dtype=np.float32)
        drawn = np.empty(n, dtype=np.complex64)
        np.multiply(modulus, np.cos(phase), out=drawn.real)
        np.multiply(modulus, np.sin(phase), out=drawn.imag)
        return drawn

    def harmonics(self, purpose: str, n_shells: int, ell_max: int) -> np.ndarray:
        """Return unit-variance coefficients of every shell, from streams of its own.

        Coefficients are drawn in order of l, so that a lower `ell_max` gives a prefix of the same
        numbers, and are complex with <|a|^2> = 1; those of m = 0 are real.

        Returns
        -------
        array
            Shape (n_shells, n_alm) in healpy's order of (l, m), complex64.
        """
        order, zonal = _healpy_order(ell_max)
        alm = np.empty((n_shells, order.size), dtype=np.complex64)

        def fill(i: int) -> None:
            drawn = self.complex_normals(order.size, purpose, i)
            drawn[zonal] = np.float32(np.sqrt(2)) * drawn[zonal].real
            # not mode='raise', which numpy buffers
            np.take(drawn, order, out=alm[i], mode="clip")

        spread(fill, range(n_shells))
        return alm


@cache
def _healpy_order(ell_max: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places in the order 00, 10, 11, 20, ... of healpy's coefficients and of m = 0."""
    ell = np.arange(ell_max + 1)
    order = [ell[m:] * (ell[m:] + 1) // 2 + m for m in ell]
    return np.concatenate(order), order[0]


class InjectedHarmonics:
    """Stands in for the generator of `glass.generate` and hands out prescribed coefficients.

    GLASS asks once per shell for normals of shape (n, 2), l-major, and makes the coefficients
    (x_0 + i x_1) sqrt(C_l / 2), taking x_0 + x_1 for m = 0.

    Parameters
    ----------
    alm
        Unit-variance coefficients, shape (n_shells, n_alm), healpy's order.
    ell_max
        Largest multipole.
    """

    def __init__(self, alm: np.ndarray, ell_max: int) -> None:
        ell, m = _glass_order(ell_max)
        values = alm[:, m * (2 * ell_max + 1 - m) // 2 + ell]
        general = np.sqrt(2) * np.stack([values.real, values.imag], axis=-1)
        zonal = np.repeat(values.real[..., None], 2, axis=-1) / np.sqrt(2)
        self._pairs = iter(np.where((m == 0)[:, None], zonal, general))

    def standard_normal(self, size: tuple[int, int], dtype: object = None) -> np.ndarray:
        """Return the next shell's numbers, shape `size`."""
        pairs = next(self._pairs)
        if pairs.shape != tuple(size):
            raise ValueError(f"GLASS asks for {size} numbers, {pairs.shape} are prescribed")
        return pairs


def _glass_order(ell_max: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (l, m) in GLASS's order 00, 10, 11, 20, 21, 22, ..."""
    ell = np.repeat(np.arange(ell_max + 1), np.arange(1, ell_max + 2))
    m = np.arange(ell.size) - ell * (ell + 1) // 2
    return ell, m
