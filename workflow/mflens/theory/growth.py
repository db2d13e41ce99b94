"""Linear and second-order growth in a flat universe with dark energy."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mflens.compiled import compiled
from mflens.parameters import A_START, DARK_ENERGY

PHOTONS = 2.4728e-5  # Omega_gamma h^2 at 2.7255 K
NEUTRINO_SHARE = 0.22711  # of one massless neutrino in units of the photons
N_EFF = 3.044


@dataclass(frozen=True)
class Growth:
    """Growth and supercomoving time on a table over ln a.

    Attributes
    ----------
    ln_a
        Natural logarithm of the scale factor, shape (n,), ascending to 0.
    expansion
        H / H_0.
    first, first_rate
        Linear growth factor D, 1 today, and f = dlnD/dlna.
    second, second_rate
        Second-order factor D_2 (about -3/7 D^2) and its logarithmic rate.
    time
        Supercomoving time H_0 dt / a^2, 0 today (Martel & Shapiro 1998, astro-ph/9710119).

    Notes
    -----
    ASSUME dark energy and radiation are smooth, and massive neutrinos cluster as cold matter in
    the growth (not in the power spectra): it does not depend on scale.
    """

    ln_a: np.ndarray
    expansion: np.ndarray
    first: np.ndarray
    first_rate: np.ndarray
    second: np.ndarray
    second_rate: np.ndarray
    time: np.ndarray

    def at(self, name: str, a: float | np.ndarray) -> np.ndarray:
        """Interpolate the quantity `name` to scale factor `a`."""
        return np.interp(np.log(a), self.ln_a, getattr(self, name))


def growth_of(parameters: Mapping[str, float]) -> Growth:
    """Return the growth of a cosmology, given by all its parameters by name."""
    w0, wa = (parameters.get(name, value) for name, value in DARK_ENERGY.items())
    omega_r = radiation_density(parameters)
    return compute_growth(parameters["Omega_m"], w0=w0, wa=wa, omega_r=omega_r)


def radiation_density(parameters: Mapping[str, float]) -> float:
    """Return the density of photons and massless neutrinos today over the critical density."""
    # CAMB's one massive state takes the place of a third of the massless ones
    massless = N_EFF * (2 / 3 if parameters["m_nu"] > 0 else 1)
    return PHOTONS * (1 + NEUTRINO_SHARE * massless) / parameters["h"] ** 2


def compute_growth(
    omega_m: float, *, w0: float = -1.0, wa: float = 0.0, omega_r: float = 0.0, n: int = 2048
) -> Growth:
    """Solve the growth equations of first and second order.

    Parameters
    ----------
    omega_m
        Matter density today over the critical density; what is left to 1 is dark energy.
    w0, wa
        Its equation of state, w(a) = w0 + wa (1 - a) (Linder 2003, astro-ph/0208512).
    omega_r
        Radiation density today over the critical density.
    n
        Number of table rows between a = 1e-3 and 1.

    References
    ----------
    Bouchet et al. 1995, astro-ph/9406013, for the second order; Meszaros 1974 for the start.
    """
    # every second point is in the table, the others are the middles of the steps
    x = np.linspace(np.log(A_START), 0.0, 2 * n - 1)
    matter, radiation = omega_m * np.exp(-3 * x), omega_r * np.exp(-4 * x)
    fading = np.exp(-3 * ((1 + w0 + wa) * x + wa * (1 - np.exp(x))))
    dark = (1 - omega_m - omega_r) * fading
    total = matter + radiation + dark
    pressure = radiation / 3 + (w0 + wa * (1 - np.exp(x))) * dark
    # the growing mode of matter and radiation, D = a + 2/3 a_eq, and D_2 = -3/7 D^2
    d1, v1 = A_START + 2 / 3 * omega_r / omega_m, A_START
    start = np.array([d1, v1, -3 / 7 * d1**2, -6 / 7 * d1 * v1])
    y = _integrate(start, 0.5 - 1.5 * pressure / total, 1.5 * matter / total, x[2] - x[0])
    clock = np.exp(-2 * x) / np.sqrt(total)  # dt / dlna
    steps = (x[2] - x[0]) / 6 * (clock[:-2:2] + 4 * clock[1::2] + clock[2::2])
    time = np.append(-np.cumsum(steps[::-1])[::-1], 0.0)
    today = y[0, -1]
    return Growth(
        ln_a=x[::2],
        expansion=np.sqrt(total[::2]),
        first=y[0] / today,
        first_rate=y[1] / y[0],
        second=y[2] / today**2,
        second_rate=y[3] / y[2],
        time=time,
    )


@compiled("f8[::1]", "f8[::1]", "f8[::1]", "f8")
def _integrate(
    start: np.ndarray, friction: np.ndarray, source: np.ndarray, step: float
) -> np.ndarray:
    """Solve D'' + friction D' = source D and D_2'' + friction D_2' = source (D_2 - D^2) in ln a.

    Runge-Kutta of fourth order; friction and source are given at both ends and in the middle of
    each step, shape (2 n - 1,). Returns D, D', D_2 and D_2', shape (4, n).
    """
    n = friction.size // 2 + 1
    y, slope, at = np.empty((4, n)), np.zeros((5, 4)), np.empty(4)
    y[:, 0] = start
    share = (0.0, 0.5, 0.5, 1.0)
    for i in range(n - 1):
        for stage in range(4):
            place = 2 * i + int(2 * share[stage])
            for c in range(4):
                at[c] = y[c, i] + share[stage] * step * slope[stage, c]
            slope[stage + 1, 0] = at[1]
            slope[stage + 1, 1] = source[place] * at[0] - friction[place] * at[1]
            slope[stage + 1, 2] = at[3]
            slope[stage + 1, 3] = source[place] * (at[2] - at[0] ** 2) - friction[place] * at[3]
        for c in range(4):
            k1, k2, k3, k4 = slope[1, c], slope[2, c], slope[3, c], slope[4, c]
            y[c, i + 1] = y[c, i] + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y
