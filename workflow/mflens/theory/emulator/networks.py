"""Emulator of the matter power spectra, in the manner of CosmoPower (arXiv:2106.03846).

Two networks map a few numbers to the principal components of a logarithm: of the linear power
over an analytic one without wiggles, and of the non-linear power over the linear one times D(z)^2.
The spectra stand on a grid of k in units of the sound horizon, where the acoustic oscillations of
all cosmologies fall on the same nodes.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from mflens.errors import ConfigError
from mflens.parameters import A_START
from mflens.theory.emulator.domain import Domain
from mflens.theory.growth import Growth, radiation_density
from mflens.theory.power import A_S_START, K_MIN_H_MPC, N_K, Power, wanted_sigma_8

LOGARITHMIC = ("Omega_m", "h", "Omega_b")
PIVOT_MPC = 0.05  # CAMB's pivot of the primordial power (1/Mpc)
CMB_OVER_27 = 2.7255 / 2.7


def sound_horizon(parameters: Mapping[str, float]) -> float:
    """Return the sound horizon in Mpc/h (Eisenstein & Hu 1998, astro-ph/9709112, eq. 26)."""
    h = parameters["h"]
    matter, baryons = parameters["Omega_m"] * h**2, parameters["Omega_b"] * h**2
    return h * 44.5 * np.log(9.83 / matter) / np.sqrt(1 + 10 * baryons**0.75)


def smooth_power(parameters: Mapping[str, float], k: np.ndarray, growth: Growth) -> np.ndarray:
    """Return the linear power today without wiggles, up to a constant factor.

    Parameters
    ----------
    parameters
        All parameters by name; the amplitude is `A_S_START` whatever they say.
    k
        Wavenumbers in h/Mpc, shape (n_k,).
    growth
        Growth of this cosmology.

    References
    ----------
    Eisenstein & Hu 1998, astro-ph/9709112, eqs. 26 and 28 to 31.
    """
    h, omega_m = parameters["h"], parameters["Omega_m"]
    matter, share = omega_m * h**2, parameters["Omega_b"] / omega_m
    alpha = 1 - 0.328 * np.log(431 * matter) * share + 0.38 * np.log(22.3 * matter) * share**2
    damping = 1 + (0.43 * k * sound_horizon(parameters)) ** 4
    q = k * CMB_OVER_27**2 / (omega_m * h * (alpha + (1 - alpha) / damping))
    numerator = np.log(2 * np.e + 1.8 * q)
    transfer = numerator / (numerator + (14.2 + 731 / (1 + 62.5 * q)) * q**2)
    # D in units of the scale factor in matter domination
    start = A_START + 2 / 3 * radiation_density(parameters) / omega_m
    growth_today = start / growth.first[0]
    tilt = (k * h / PIVOT_MPC) ** (parameters["n_s"] - 1)
    return k * tilt * (transfer * growth_today / omega_m) ** 2


class SpectrumNetwork(nn.Module):
    """Map a few numbers to a spectrum through its principal components.

    Parameters
    ----------
    n_inputs, n_outputs
        Length of inputs and spectra.
    n_components
        Number of principal components.
    hidden_features
        Width of the three hidden layers.
    """

    centre: Tensor
    spread: Tensor
    mean: Tensor
    basis: Tensor

    def __init__(
        self, *, n_inputs: int, n_outputs: int, n_components: int, hidden_features: int
    ) -> None:
        super().__init__()
        self.arguments = {
            "n_inputs": n_inputs,
            "n_outputs": n_outputs,
            "n_components": n_components,
            "hidden_features": hidden_features,
        }
        self.register_buffer("centre", torch.zeros(n_inputs))
        self.register_buffer("spread", torch.ones(n_inputs))
        self.register_buffer("mean", torch.zeros(n_outputs))
        self.register_buffer("basis", torch.zeros(n_components, n_outputs))
        width = hidden_features
        self.network = nn.Sequential(
            nn.Linear(n_inputs, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, n_components),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs, shape (n, n_inputs), to spectra, shape (n, n_outputs)."""
        return self.mean + self.components(x) @ self.basis

    def components(self, x: Tensor) -> Tensor:
        """Map inputs, shape (n, n_inputs), to unit-variance components, (n, n_components)."""
        return self.network((x - self.centre) / self.spread)

    @torch.no_grad()
    def calibrate(self, x: Tensor, y: Tensor) -> Tensor:
        """Fit scalers and principal components and return the components of y.

        Parameters
        ----------
        x, y
            Training inputs, shape (n, n_inputs), and spectra, shape (n, n_outputs).
        """
        scatter = x.std(0)
        self.centre.copy_(x.mean(0))
        # what does not vary in training is known by the mean
        self.spread.copy_(torch.where(scatter > 1e-9, scatter, 1.0))
        self.mean.copy_(y.mean(0))
        residual = (y - self.mean).double()
        variance, vectors = torch.linalg.eigh(residual.mT @ residual / len(y))
        n = len(self.basis)
        sd = variance.flip(0)[:n].clamp(min=1e-14).sqrt()
        vectors = vectors.flip(1)[:, :n]
        self.basis.copy_((vectors * sd).mT)
        return (residual @ vectors / sd).to(y.dtype)


class Emulator:
    """Linear and non-linear matter power of any cosmology in a domain.

    Parameters
    ----------
    domain
        The cosmologies it is for.
    nonlinear
        CAMB's name of the non-linear model.
    k_max
        Largest wavenumber in h/Mpc.
    z_max
        Largest redshift.
    networks
        `linear` and `boost`.
    errors
        What `measure_errors` found on held-out cosmologies, row by row.
    """

    def __init__(
        self,
        domain: Domain,
        nonlinear: str,
        k_max: float,
        z_max: float,
        networks: Mapping[str, SpectrumNetwork],
        errors: list[dict[str, Any]],
    ) -> None:
        self.domain, self.nonlinear = domain, nonlinear
        self.k_max, self.z_max = k_max, z_max
        self.networks = {name: networks[name].eval() for name in ("linear", "boost")}
        self.errors = errors
        self.phase = phase_grid(domain, k_max)

    @torch.no_grad()
    def power(
        self, parameters: Mapping[str, float], z: np.ndarray, k_max: float, growth: Growth
    ) -> Power:
        """Return what `compute_power` returns.

        Parameters
        ----------
        parameters
            All parameters by name.
        z
            Redshifts of the non-linear spectra, shape (n_z,).
        k_max
            Largest wavenumber in h/Mpc.
        growth
            Growth of this cosmology.

        Raises
        ------
        ConfigError
            If the cosmology, the redshifts or the wavenumbers are outside the training range.
        """
        self.domain.check(parameters)
        self._check_reach(z, k_max)
        k = self.phase / sound_horizon(parameters)
        shape = shape_inputs(self.domain, parameters)
        ratio = self._run("linear", shape[None])
        log_linear = np.log(smooth_power(parameters, k, growth)) + ratio[0]
        scaled, sigma_8 = set_amplitude(k, log_linear, parameters)
        first = growth.at("first", 1 / (1 + z))
        boost = self._run("boost", boost_inputs(shape, sigma_8, first, z))
        table = np.vstack([ratio, ratio + 2 * np.log(first)[:, None] + boost])
        table += scaled[0] - log_linear[0]
        wanted = np.geomspace(K_MIN_H_MPC, k_max, N_K)
        # below the table's first wavenumber, far beyond the horizon, the ratio is constant
        at = np.log(np.maximum(wanted, k[0]))
        power = smooth_power(parameters, wanted, growth) * np.exp(
            CubicSpline(np.log(k), table, axis=1)(at)
        )
        return Power(k=wanted, linear=power[0], nonlinear=power[1:])

    def _check_reach(self, z: np.ndarray, k_max: float) -> None:
        remedy = "train it anew or set theory.power to camb"
        if k_max > self.k_max * (1 + 1e-9):
            raise ConfigError(
                f"theory.k_max_h_mpc: {k_max:g} is above the emulator's {self.k_max:g}; {remedy}."
            )
        if z.max() > self.z_max:
            raise ConfigError(
                f"theory.shells: they reach redshift {z.max():.3g}, beyond the emulator's "
                f"{self.z_max:.3g}; {remedy}."
            )

    def _run(self, name: str, inputs: np.ndarray) -> np.ndarray:
        return self.networks[name](torch.as_tensor(inputs, dtype=torch.float32)).numpy()

    @property
    def accuracy(self) -> dict[str, float]:
        """The 68 % and 99 % quantiles of the measured errors over all scales, in per cent."""
        rows = {row["power"]: row for row in reversed(self.errors)}
        return {f"{p}_{q}": rows[p][q] for p in ("linear", "nonlinear") for q in ("q68", "q99")}

    def to_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors and the JSON-able arguments that `from_state` rebuilds it from."""
        state = {
            f"{name}.{key}": tensor
            for name, network in self.networks.items()
            for key, tensor in network.state_dict().items()
        }
        arguments = {
            "free": self.domain.free,
            "fixed": self.domain.fixed,
            "nonlinear": self.nonlinear,
            "k_max": self.k_max,
            "z_max": self.z_max,
            "networks": {name: network.arguments for name, network in self.networks.items()},
            "errors": self.errors,
        }
        return state, arguments

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> "Emulator":
        """Rebuild an emulator from what `to_state` returned."""
        kept = dict(arguments)
        networks = {}
        for name, sizes in kept.pop("networks").items():
            networks[name] = SpectrumNetwork(**sizes)
            prefix = f"{name}."
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            networks[name].load_state_dict(own)
        free = {name: tuple(ends) for name, ends in kept.pop("free").items()}
        return cls(Domain(free, kept.pop("fixed")), networks=networks, **kept)


def phase_grid(domain: Domain, k_max: float) -> np.ndarray:
    """Return the nodes of k in units of the sound horizon, shape (N_K,).

    At every cosmology of the domain they begin at or above K_MIN_H_MPC, below which CAMB has no
    power, and reach k_max (h/Mpc).
    """
    names = ("Omega_m", "h", "Omega_b")
    ends = [domain.free.get(name, (domain.fixed.get(name, 0.0),) * 2) for name in names]
    corners = [sound_horizon(dict(zip(names, corner, strict=True))) for corner in product(*ends)]
    return np.geomspace(1.01 * K_MIN_H_MPC * max(corners), 1.01 * k_max * max(corners), N_K)


def shape_inputs(domain: Domain, parameters: Mapping[str, float]) -> np.ndarray:
    """Return what both networks see of a cosmology: all that is free but the amplitude."""
    names = [name for name in domain.free if name != domain.amplitude]
    return np.array(
        [np.log(parameters[n]) if n in LOGARITHMIC else parameters[n] for n in names], dtype=float
    )


def boost_inputs(shape: np.ndarray, sigma_8: float, first: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the inputs of the boost, shape (n_z, n_inputs); `first` is D(z), shape (n_z,)."""
    own = [np.log(sigma_8 * first), np.log(first), np.log1p(z)]
    return np.column_stack([np.broadcast_to(shape, (len(z), len(shape))), *own])


def set_amplitude(
    k: np.ndarray, log_linear: np.ndarray, parameters: Mapping[str, float]
) -> tuple[np.ndarray, float]:
    """Give a linear power the amplitude of a cosmology; return its logarithm and sigma_8.

    Parameters
    ----------
    k, log_linear
        Wavenumbers in h/Mpc and ln P at `A_S_START`, shapes (n_k,).
    parameters
        All parameters by name.
    """
    x = 8 * k
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    variance = np.trapezoid(np.exp(log_linear) * k**3 * window**2, np.log(k)) / (2 * np.pi**2)
    wanted = wanted_sigma_8(parameters)
    factor = parameters["A_s"] / A_S_START if wanted is None else wanted**2 / variance
    return log_linear + np.log(factor), float(np.sqrt(variance * factor))
