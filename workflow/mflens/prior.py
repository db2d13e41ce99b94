"""Priors over the cosmological parameters, and the map of parameters to standard normals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# scipy.stats would double the start of most jobs
from scipy.special import ndtr, ndtri

LATEX = {
    "Omega_m": r"\Omega_\mathrm{m}",
    "sigma_8": r"\sigma_8",
    "h": "h",
    "n_s": r"n_\mathrm{s}",
    "Omega_b": r"\Omega_\mathrm{b}",
    "m_nu": r"\Sigma m_\nu",
    "S_8": "S_8",
    "A_s": r"A_\mathrm{s}",
    "w0": "w_0",
    "wa": "w_a",
    "log10_T_AGN": r"\log_{10} T_\mathrm{AGN}",
    "A_IA": r"A_\mathrm{IA}",
    "eta_IA": r"\eta_\mathrm{IA}",
}
# one of each for every tomographic bin: delta_z_1, ...
PER_BIN = {"delta_z": r"\Delta z", "stretch": "s"}
# Sims nearer to a bound than this count as so far inside, in units of the prior's width: on the
# bound y is infinite, and its density says nothing of theta's. ASSUME posteriors are far wider.
EDGE = 1 / 300
# Sims so far outside are on the bound but for the digits of their table, same unit
ROUNDING = 1e-5
GREEK = {"alpha", "beta", "gamma", "mu", "sigma", "theta"}


class Prior:
    """A product of one-dimensional priors.

    Inference works in y = Phi^-1(CDF(theta)), in which every prior is a standard normal and no
    posterior can leave the prior's bounds. Sims that may lie on these come `inside` first.

    Parameters
    ----------
    parameters
        The config's `theory.parameters` or nuisances: name to a number (fixed), to
        `{prior: uniform, min, max}` or to `{prior: normal, mean, sd}` (free).
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = dict(parameters)
        self.fixed = {k: float(v) for k, v in parameters.items() if not isinstance(v, Mapping)}
        free = {k: v for k, v in parameters.items() if isinstance(v, Mapping)}
        self.names = list(free)
        self.marginals = [_marginal(entry) for entry in free.values()]

    @property
    def latex(self) -> list[str]:
        """LaTeX symbols of the free parameters, without dollar signs."""
        return [symbol(name) for name in self.names]

    @property
    def bounds(self) -> np.ndarray:
        """Support of the free parameters, shape (d, 2); infinite for normal priors."""
        return np.array([marginal.support for marginal in self.marginals], dtype=float)

    def from_unit(self, u: np.ndarray) -> np.ndarray:
        """Map the unit cube, shape (n, d), to parameters by the inverse CDF."""
        return np.stack([m.ppf(u[:, i]) for i, m in enumerate(self.marginals)], axis=1)

    def to_normal(self, theta: np.ndarray) -> np.ndarray:
        """Map parameters, shape (n, d), to y = Phi^-1(CDF(theta)), standard normal a priori."""
        theta = np.asarray(theta, dtype=float)
        y = [m.to_normal(theta[..., i]) for i, m in enumerate(self.marginals)]
        return np.stack(y, axis=-1)

    def from_normal(self, y: np.ndarray) -> np.ndarray:
        """Map y, shape (..., d), back to parameters."""
        y = np.asarray(y, dtype=float)
        theta = [m.from_normal(y[..., i]) for i, m in enumerate(self.marginals)]
        return np.stack(theta, axis=-1)

    def inside(self, theta: np.ndarray) -> np.ndarray:
        """Move parameters, shape (..., d), that are nearer to a bound than EDGE to EDGE inside.

        Suites on grids have sims on the prior's bounds. There log q(theta | x) = log q(y | x)
        - log N(y) + log p(theta) would be as high as the point at which y is cut off is far out;
        so training and truths take such sims to lie where log N(y) is of the order of one.
        """
        low, high = self.bounds.T
        # normal priors have no bounds, and infinity times EDGE is none either
        step = np.where(np.isfinite(high - low), EDGE * (high - low), 0.0)
        return np.clip(np.asarray(theta, dtype=float), low + step, high - step)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        """Return the log density at theta, shape (..., d), summed over parameters."""
        theta = np.asarray(theta, dtype=float)
        return np.sum([m.logpdf(theta[..., i]) for i, m in enumerate(self.marginals)], axis=0)

    def complete(self, theta: np.ndarray) -> dict[str, float]:
        """Return all parameters by name, fixed ones included, for one theta of shape (d,)."""
        free = {name: float(value) for name, value in zip(self.names, theta, strict=True)}
        return {name: free.get(name, self.fixed.get(name, np.nan)) for name in self.parameters}


def symbol(name: str) -> str:
    """Return a parameter's LaTeX symbol: a known one, or a letter, Greek or not, and an index."""
    if name in LATEX:
        return LATEX[name]
    for prefix, letter in PER_BIN.items():
        if name.startswith(f"{prefix}_"):
            return f"{letter}_{{{name[len(prefix) + 1 :]}}}"
    stem, _, index = name.partition("_")
    letter = f"\\{stem}" if stem in GREEK else stem
    return f"{letter}_{{{index}}}" if index else letter


@dataclass(frozen=True)
class Uniform:
    """A uniform distribution from `low` to `high`."""

    low: float
    high: float

    @property
    def support(self) -> tuple[float, float]:
        """Ends of the distribution."""
        return self.low, self.high

    @property
    def sd(self) -> float:
        """Standard deviation."""
        return (self.high - self.low) / 12**0.5

    def ppf(self, u: np.ndarray) -> np.ndarray:
        """Return the value at the cumulative probability u."""
        # rounding would leave the bounds, where the density is zero
        return np.clip(self.low + u * (self.high - self.low), self.low, self.high)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Return the cumulative probability."""
        return np.clip((x - self.low) / (self.high - self.low), 0.0, 1.0)

    def to_normal(self, x: np.ndarray) -> np.ndarray:
        """Map values to standard normals, at most 7 from zero."""
        return ndtri(np.clip(self.cdf(x), 1e-12, 1 - 1e-12))

    def from_normal(self, y: np.ndarray) -> np.ndarray:
        """Map standard normals to values."""
        return self.ppf(ndtr(y))

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density."""
        inside = (x >= self.low) & (x <= self.high)
        return np.where(inside, -np.log(self.high - self.low), -np.inf)


@dataclass(frozen=True)
class Normal:
    """A normal distribution."""

    mean: float
    sd: float

    @property
    def support(self) -> tuple[float, float]:
        """Ends of the distribution."""
        return -np.inf, np.inf

    def ppf(self, u: np.ndarray) -> np.ndarray:
        """Return the value at the cumulative probability u."""
        return self.mean + self.sd * ndtri(u)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Return the cumulative probability."""
        return ndtr((x - self.mean) / self.sd)

    def to_normal(self, x: np.ndarray) -> np.ndarray:
        """Map values to standard normals, exact in the tails too."""
        return (x - self.mean) / self.sd

    def from_normal(self, y: np.ndarray) -> np.ndarray:
        """Map standard normals to values."""
        return self.mean + self.sd * y

    def logpdf(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithm of the density."""
        return -0.5 * ((x - self.mean) / self.sd) ** 2 - np.log(self.sd * np.sqrt(2 * np.pi))


def _marginal(entry: Mapping[str, Any]) -> Uniform | Normal:
    if entry["prior"] == "uniform":
        return Uniform(entry["min"], entry["max"])
    return Normal(entry["mean"], entry["sd"])
