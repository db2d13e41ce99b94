"""Training of the emulator: spectra by CAMB, networks, and their error on held-out cosmologies."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mflens.parameters import DARK_ENERGY
from mflens.seeding import new_generator, seeded
from mflens.theory.cosmology import make_geometry
from mflens.theory.emulator.domain import Domain
from mflens.theory.emulator.networks import (
    Emulator,
    SpectrumNetwork,
    boost_inputs,
    phase_grid,
    shape_inputs,
    smooth_power,
    sound_horizon,
)
from mflens.theory.growth import growth_of
from mflens.theory.kernels import Shells
from mflens.theory.power import (
    compute_power,
    compute_transfer,
    rows_of,
    set_amplitude,
    tabulate,
)

MARGIN = 1.05  # how much farther than the shells the emulator is trained, in redshift
WAVENUMBER_BANDS = ((1e-4, 0.01), (0.01, 0.1), (0.1, 1.0), (1.0, np.inf))  # h/Mpc
N_ROWS = 40  # of the history


def training_spectra(
    theta: np.ndarray,
    domain: Domain,
    shells: Shells,
    k_max: float,
    nonlinear: str,
    n_amplitudes: int,
) -> dict[str, np.ndarray]:
    """Return logarithmic spectra of one cosmology, at several amplitudes, for training.

    Parameters
    ----------
    theta
        Free parameters, shape (d,).
    domain
        The domain of the emulator.
    shells
        The shells, whose redshifts are those of the spectra.
    k_max
        Largest wavenumber in h/Mpc.
    nonlinear
        CAMB's name of the non-linear model.
    n_amplitudes
        At how many amplitudes the non-linear power is computed: it costs a tenth of the rest.

    Returns
    -------
    dict
        `theta`; redshifts `z`, shape (n_z,); `linear`, ln P today on the phase grid at `A_S_START`,
        shape (n_k,), and its `sigma_8_start`; `nonlinear`, ln P at other amplitudes, shape
        (n_amplitudes, n_z, n_k), and their `sigma_8`, shape (n_amplitudes,).
    """
    parameters = domain.complete(theta)
    near = make_geometry(parameters, shells).shell_growth.z
    z = np.array([0.0, *near, MARGIN * farthest_redshift(domain, shells)])
    phase = phase_grid(domain, k_max)
    ends = (phase[0] / sound_horizon(parameters), phase[-1] / sound_horizon(parameters))
    results = compute_transfer(parameters, z, ends[1])
    start = results.get_sigma8_0()
    _, linear = tabulate(results, *ends)
    sigma_8, evolved = [], []
    for cosmology in domain.amplitudes(parameters, n_amplitudes):
        sigma_8.append(set_amplitude(results, cosmology))
        evolved.append(np.log(tabulate(results, *ends, nonlinear, cosmology)[1][rows_of(z)]))
    return {
        "theta": np.asarray(theta, dtype=float),
        "z": z,
        "sigma_8_start": start,
        "sigma_8": np.array(sigma_8),
        "linear": np.log(linear[0]).astype(np.float32),
        "nonlinear": np.stack(evolved).astype(np.float32),
    }


def farthest_redshift(domain: Domain, shells: Shells) -> float:
    """Return the redshift of the last shell at the corner of the domain where it is highest."""
    highest = {name: high for name, (_, high) in domain.free.items()}
    middle = {name: (low + high) / 2 for name, (low, high) in domain.free.items()}
    near = {name: highest[name] for name in ("Omega_m", *DARK_ENERGY) if name in highest}
    corner = {**domain.fixed, **middle, **near}
    return float(make_geometry(corner, shells).shell_growth.z[-1])


def validation_spectra(
    theta: np.ndarray, domain: Domain, shells: Shells, k_max: float, nonlinear: str
) -> dict[str, np.ndarray]:
    """Return the power of one cosmology just as CAMB gives it to a run, to measure errors.

    Returns
    -------
    dict
        `theta`, `z`, shape (n_z,), `linear`, shape (n_k,), `nonlinear`, shape (n_z, n_k).
    """
    parameters = domain.complete(theta)
    z = make_geometry(parameters, shells).shell_growth.z
    power = compute_power(parameters, z, k_max, nonlinear)
    return {
        "theta": np.asarray(theta, dtype=float), "z": z, "linear": power.linear,
        "nonlinear": power.nonlinear,
    }  # fmt: skip


def training_pairs(
    spectra: Mapping[str, np.ndarray], domain: Domain, k_max: float
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return inputs and outputs of both networks, `linear` and `boost`, one row a spectrum.

    Parameters
    ----------
    spectra
        What `training_spectra` returned, stacked over cosmologies.
    domain, k_max
        Those of the spectra.
    """
    phase = phase_grid(domain, k_max)
    rows: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"linear": [], "boost": []}
    for i, theta in enumerate(spectra["theta"]):
        parameters, z = domain.complete(theta), spectra["z"][i]
        growth = growth_of(parameters)
        first = growth.at("first", 1 / (1 + z))
        shape = shape_inputs(domain, parameters)
        smooth = smooth_power(parameters, phase / sound_horizon(parameters), growth)
        linear = spectra["linear"][i].astype(float)
        rows["linear"].append((shape[None], (linear - np.log(smooth))[None]))
        for sigma_8, evolved in zip(spectra["sigma_8"][i], spectra["nonlinear"][i], strict=True):
            scale = 2 * np.log(first * sigma_8 / spectra["sigma_8_start"][i])
            boost = evolved - (linear + scale[:, None])
            rows["boost"].append((boost_inputs(shape, sigma_8, first, z), boost))
    pairs = {}
    for name, found in rows.items():
        inputs, outputs = (np.concatenate(part) for part in zip(*found, strict=True))
        pairs[name] = (torch.as_tensor(inputs).float(), torch.as_tensor(outputs).float())
    return pairs


def train_network(
    network: SpectrumNetwork,
    inputs: Tensor,
    outputs: Tensor,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    generator: torch.Generator,
    name: str,
) -> list[dict[str, Any]]:
    """Fit a network by Adam, at a learning rate that falls to zero, and return its history.

    Parameters
    ----------
    network
        What is trained, in place.
    inputs, outputs
        Shapes (n, n_inputs) and (n, n_outputs).
    steps, batch_size, learning_rate
        Steps of the optimiser, spectra in a batch, largest step size.
    generator
        Random numbers for the batches.
    name
        Stands in the log and in the history.

    Returns
    -------
    list
        `network`, `step` and `rms`, the error of the logarithm over the steps since the last row.
    """
    target = network.calibrate(inputs, outputs)
    sd = network.basis.norm(dim=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps)
    history, total, interval = [], 0.0, -(-steps // N_ROWS)
    for step in range(1, steps + 1):
        batch = torch.randint(len(inputs), (batch_size,), generator=generator)
        optimizer.zero_grad(set_to_none=True)
        miss = (network.components(inputs[batch]) - target[batch]) * sd
        loss = miss.square().sum(1).mean() / outputs.shape[1]
        loss.backward()
        optimizer.step()
        schedule.step()
        total += float(loss.detach())
        if step % interval == 0 or step == steps:
            rms = (total / ((step - 1) % interval + 1)) ** 0.5
            history.append({"network": name, "step": step, "rms": rms})
            logging.info("%s: step %d of %d, rms of ln P %.2e", name, step, steps, rms)
            total = 0.0
    return history


def train_emulator(
    spectra: Mapping[str, np.ndarray],
    domain: Domain,
    nonlinear: str,
    k_max: float,
    *,
    n_components: int,
    hidden_features: int,
    seed: int,
    **training: Any,
) -> tuple[Emulator, list[dict[str, Any]]]:
    """Train both networks and return the emulator, its errors not yet measured, and the history.

    Parameters
    ----------
    spectra
        What `training_spectra` returned, stacked over cosmologies.
    domain, nonlinear, k_max
        Those of the spectra.
    n_components, hidden_features
        Size of the networks.
    seed
        Of the first weights and of the order of batches.
    training
        `steps`, `batch_size` and `learning_rate`.
    """
    networks, history = {}, []
    for name, (inputs, outputs) in training_pairs(spectra, domain, k_max).items():
        with seeded(seed):
            networks[name] = SpectrumNetwork(
                n_inputs=inputs.shape[1],
                n_outputs=outputs.shape[1],
                n_components=n_components,
                hidden_features=hidden_features,
            )
        generator = new_generator(seed)
        history += train_network(
            networks[name], inputs, outputs, **training, generator=generator, name=name
        )
    return Emulator(domain, nonlinear, k_max, float(spectra["z"].max()), networks, []), history


def measure_errors(emulator: Emulator, held_out: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the relative error of an emulator on held-out cosmologies, by kind and scale.

    Parameters
    ----------
    emulator
        The emulator.
    held_out
        What `validation_spectra` returned, stacked over cosmologies.

    Returns
    -------
    DataFrame
        One row for each kind of power and range of k, and one over all: `power`, `k_min`,
        `k_max` (h/Mpc), `n_cosmologies`, and the 68 %, 95 % and 99 % quantiles and the largest of
        |P_emulator / P_CAMB - 1| over cosmologies, redshifts and wavenumbers, in per cent.
    """
    errors: dict[str, list[np.ndarray]] = {"linear": [], "nonlinear": []}
    k = np.empty(0)
    for i, theta in enumerate(held_out["theta"]):
        parameters = emulator.domain.complete(theta)
        growth = growth_of(parameters)
        power = emulator.power(parameters, held_out["z"][i], emulator.k_max, growth)
        k = power.k
        errors["linear"].append(100 * np.abs(power.linear / held_out["linear"][i] - 1))
        errors["nonlinear"].append(100 * np.abs(power.nonlinear / held_out["nonlinear"][i] - 1))
    rows = []
    for name, found in errors.items():
        table = np.stack(found)
        for low, high in (WAVENUMBER_BANDS[0][0], np.inf), *WAVENUMBER_BANDS:
            part = table[..., (k >= low * (1 - 1e-9)) & (k < high)]
            if part.size == 0:
                continue
            q = np.quantile(part, [0.68, 0.95, 0.99, 1.0])
            rows.append((name, low, min(high, k[-1]), len(found), *map(float, q)))
    columns = ["power", "k_min", "k_max", "n_cosmologies", "q68", "q95", "q99", "largest"]
    return pd.DataFrame(rows, columns=columns)
