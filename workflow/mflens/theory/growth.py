"""Linear and second-order growth in a flat LCDM universe without radiation."""

from dataclasses import dataclass

import numpy as np
from scipy.integrate import cumulative_trapezoid, solve_ivp

A_START = 1e-3


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
    ASSUME radiation and the scale dependence of growth from neutrinos are left out of the growth
    (not of the power spectrum today): 0.3 per cent in D at z = 2.
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


def compute_growth(omega_m: float, n: int = 2048) -> Growth:
    """Solve the growth equations of first and second order.

    Parameters
    ----------
    omega_m
        Matter density parameter today; the rest is a cosmological constant.
    n
        Number of table rows between a = 1e-3 and 1.

    References
    ----------
    Bouchet et al. 1995, astro-ph/9406013, for the second order.
    """
    ln_a = np.linspace(np.log(A_START), 0.0, n)

    def derivative(x: float, y: np.ndarray) -> list[float]:
        matter = omega_m * np.exp(-3 * x)
        omega = matter / (matter + 1 - omega_m)
        friction, source = 2 - 1.5 * omega, 1.5 * omega
        d1, v1, d2, v2 = y
        return [v1, source * d1 - friction * v1, v2, source * (d2 - d1**2) - friction * v2]

    # matter-dominated start: D = a, D_2 = -3/7 a^2
    start = [A_START, A_START, -3 / 7 * A_START**2, -6 / 7 * A_START**2]
    span = (ln_a[0], ln_a[-1])
    y = solve_ivp(derivative, span, start, t_eval=ln_a, rtol=1e-8, atol=1e-14).y
    expansion = np.sqrt(omega_m * np.exp(-3 * ln_a) + 1 - omega_m)
    time = cumulative_trapezoid(np.exp(-2 * ln_a) / expansion, ln_a, initial=0.0)
    today = y[0, -1]
    return Growth(
        ln_a=ln_a,
        expansion=expansion,
        first=y[0] / today,
        first_rate=y[1] / y[0],
        second=y[2] / today**2,
        second_rate=y[3] / y[2],
        time=time - time[-1],
    )
