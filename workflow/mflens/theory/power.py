"""Background and matter power spectra from CAMB."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mflens.errors import ConfigError
from mflens.parameters import AMPLITUDES, DARK_ENERGY

if TYPE_CHECKING:
    import camb

A_S_START = 2.1e-9
K_MIN_H_MPC = 1e-4
N_K = 400
# HMCode integrates the variance over all scales: cut at 5/Mpc, the power of z = 2.6 is 3 per cent
# off for sigma_8 = 0.6, whatever k is asked for; cut here, 0.3 per cent
K_CUT_MPC = 20.0


@dataclass(frozen=True)
class Power:
    """Matter power spectra of one cosmology.

    Attributes
    ----------
    k
        Wavenumbers in h/Mpc, shape (n_k,).
    linear
        Linear spectrum today in (Mpc/h)^3, shape (n_k,).
    nonlinear
        Non-linear spectra at the wanted redshifts in (Mpc/h)^3, shape (n_z, n_k).
    """

    k: np.ndarray
    linear: np.ndarray
    nonlinear: np.ndarray


def camb_parameters(cosmology: Mapping[str, float]) -> "camb.CAMBparams":
    """Return CAMB's parameters of a flat universe with `Omega_m` including neutrinos.

    Parameters
    ----------
    cosmology
        `Omega_m`, `Omega_b`, `h`, `n_s`, `m_nu` (eV) and, if they are not those of a cosmological
        constant, `w0` and `wa`. The amplitude is `A_S_START` whatever it says.

    Raises
    ------
    ConfigError
        If baryons and neutrinos leave no cold dark matter.
    """
    import camb

    h2 = cosmology["h"] ** 2
    m_nu = cosmology["m_nu"]
    params = camb.CAMBparams()
    # ASSUME one massive neutrino state carries all of m_nu
    params.set_cosmology(
        H0=100 * cosmology["h"],
        ombh2=cosmology["Omega_b"] * h2,
        omch2=0.1,
        mnu=m_nu,
        num_massive_neutrinos=int(m_nu > 0),
    )
    params.omch2 = (cosmology["Omega_m"] - cosmology["Omega_b"]) * h2 - params.omnuh2
    if params.omch2 <= 0:
        raise ConfigError(
            f"theory.parameters.Omega_m: {cosmology['Omega_m']:g} with Omega_b = "
            f"{cosmology['Omega_b']:g} leaves no cold dark matter; narrow the priors."
        )
    dark_energy = {name: cosmology.get(name, value) for name, value in DARK_ENERGY.items()}
    if dark_energy != DARK_ENERGY:
        # the equation of state may cross -1 (Fang, Hu & Lewis 2008, arXiv:0808.3125)
        params.set_dark_energy(w=dark_energy["w0"], wa=dark_energy["wa"], dark_energy_model="ppf")
    params.InitPower.set_params(As=A_S_START, ns=cosmology["n_s"])
    return params


def compute_background(cosmology: Mapping[str, float]) -> "camb.CAMBdata":
    """Return CAMB's background; `cosmology.compat.camb.Cosmology` wraps it for GLASS.

    It knows distances and densities but no thermal history, which takes ten times as long.
    """
    import camb

    return camb.get_background(camb_parameters(cosmology), no_thermo=True)


def compute_power(
    cosmology: Mapping[str, float], z: np.ndarray, k_max: float, nonlinear: str
) -> Power:
    """Return linear and non-linear matter power from CAMB.

    Parameters
    ----------
    cosmology
        As for `camb_parameters`, and one of `sigma_8`, `S_8` and `A_s`.
    z
        Redshifts of the non-linear spectra, shape (n_z,).
    k_max
        Largest wavenumber in h/Mpc.
    nonlinear
        CAMB's name of the non-linear model, e.g. `mead2020` (HMCode-2020, arXiv:2009.01858);
        `mead2020_feedback` takes `log10_T_AGN` from the cosmology.
    """
    results = compute_transfer(cosmology, z, k_max)
    set_amplitude(results, cosmology)
    k, linear = tabulate(results, K_MIN_H_MPC, k_max)
    _, evolved = tabulate(results, K_MIN_H_MPC, k_max, nonlinear, cosmology)
    return Power(k=k, linear=linear[0], nonlinear=evolved[rows_of(z)])


def feedback_response(cosmology: Mapping[str, float], z: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return what baryonic feedback does to the matter power, P / P without feedback.

    Parameters
    ----------
    cosmology
        As for `compute_power`, with `log10_T_AGN`, the logarithm of the heating temperature in K.
    z, k
        Redshifts, shape (n_z,), and ascending wavenumbers in h/Mpc, shape (n_k,). Wavenumbers
        below 1e-4 h/Mpc get the value there.

    Returns
    -------
    array
        Shape (n_z, n_k): the ratio of CAMB's `mead2020_feedback` to its `mead2020`.

    Raises
    ------
    ConfigError
        If the cosmology has no `log10_T_AGN`.

    References
    ----------
    Mead et al. 2021, arXiv:2009.01858, section 6.
    """
    if "log10_T_AGN" not in cosmology:
        raise ConfigError(
            "theory.parameters.log10_T_AGN: it is not given, but feedback needs it; add a number "
            "or a prior, 7.8 is typical."
        )
    k_max = max(float(k[-1]), 1.0)
    results = compute_transfer(cosmology, z, k_max)
    set_amplitude(results, cosmology)
    table, without = tabulate(results, K_MIN_H_MPC, k_max, "mead2020", cosmology)
    _, with_feedback = tabulate(results, K_MIN_H_MPC, k_max, "mead2020_feedback", cosmology)
    ratio = (with_feedback / without)[rows_of(z)]
    return np.stack([np.interp(np.log(k), np.log(table), row) for row in ratio])


def compute_transfer(
    cosmology: Mapping[str, float], z: np.ndarray, k_max: float
) -> "camb.CAMBdata":
    """Return CAMB's transfer functions at z = 0 and the redshifts z, whatever the amplitude.

    Parameters
    ----------
    cosmology
        As for `camb_parameters`.
    z
        Redshifts, shape (n_z,).
    k_max
        Largest wavenumber that will be asked for, in h/Mpc.
    """
    import camb

    params = camb_parameters(cosmology)
    params.WantCls = False
    params.NonLinear = camb.model.NonLinear_none
    params.set_matter_power(
        redshifts=np.unique(np.append(z, 0.0))[::-1],
        kmax=max(K_CUT_MPC, k_max * cosmology["h"]),
        nonlinear=False,
    )
    results = camb.get_transfer_functions(params)
    results.calc_power_spectra()
    return results


def set_amplitude(results: "camb.CAMBdata", cosmology: Mapping[str, float]) -> float:
    """Give transfer functions the amplitude of a cosmology and return its sigma_8."""
    import camb

    results.Params.NonLinear = camb.model.NonLinear_none
    initial = results.Params.InitPower
    wanted = wanted_sigma_8(cosmology)
    if wanted is None:
        initial.As = cosmology["A_s"]
    else:
        initial.As *= (wanted / results.get_sigma8_0()) ** 2
    results.calc_power_spectra()
    return float(results.get_sigma8_0())


def tabulate(
    results: "camb.CAMBdata",
    k_min: float,
    k_max: float,
    nonlinear: str | None = None,
    cosmology: Mapping[str, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return wavenumbers, shape (N_K,), and matter power at all redshifts, shape (n_z, N_K).

    Parameters
    ----------
    results
        Transfer functions with their amplitude.
    k_min, k_max
        Ends of the logarithmic grid in h/Mpc.
    nonlinear
        CAMB's name of the non-linear model, None for the linear power.
    cosmology
        Where `log10_T_AGN` is looked for.
    """
    import camb

    params = results.Params
    params.NonLinear = camb.model.NonLinear_both if nonlinear else camb.model.NonLinear_none
    if nonlinear:
        name, known = "log10_T_AGN", cosmology or {}
        feedback = {"HMCode_logT_AGN": known[name]} if name in known else {}
        params.NonLinearModel.set_params(nonlinear, **feedback)
    # forgets the ratio of another model or amplitude
    results.calc_power_spectra()
    k, _, power = results.get_matter_power_spectrum(
        minkh=k_min, maxkh=k_max, npoints=N_K, have_power_spectra=True
    )
    return k, power


def wanted_sigma_8(cosmology: Mapping[str, float]) -> float | None:
    """Return the sigma_8 that a cosmology asks for, None where it gives A_s."""
    name = next(name for name in AMPLITUDES if name in cosmology)
    if name == "A_s":
        return None
    return cosmology[name] / ((cosmology["Omega_m"] / 0.3) ** 0.5 if name == "S_8" else 1)


def rows_of(z: np.ndarray) -> np.ndarray:
    """Return where the redshifts z stand among CAMB's, which are sorted and begin with 0."""
    return np.searchsorted(np.unique(np.append(z, 0.0)), z)
