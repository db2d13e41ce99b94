"""Background and matter power spectra from CAMB."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import camb

A_S_START = 2.1e-9
K_MIN_H_MPC = 1e-4
N_K = 400


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
        `Omega_m`, `Omega_b`, `h`, `n_s`, `m_nu` (eV).
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
    params.InitPower.set_params(As=A_S_START, ns=cosmology["n_s"])
    return params


def compute_background(cosmology: Mapping[str, float]) -> "camb.CAMBdata":
    """Return CAMB's background; `cosmology.compat.camb.Cosmology` wraps it for GLASS."""
    import camb

    return camb.get_background(camb_parameters(cosmology))


def compute_power(
    cosmology: Mapping[str, float], z: np.ndarray, k_max: float, nonlinear: str
) -> Power:
    """Return linear and non-linear matter power from CAMB, scaled to `sigma_8`.

    Parameters
    ----------
    cosmology
        `Omega_m`, `sigma_8`, `Omega_b`, `h`, `n_s`, `m_nu` (eV).
    z
        Redshifts of the non-linear spectra, shape (n_z,).
    k_max
        Largest wavenumber in h/Mpc.
    nonlinear
        CAMB's name of the non-linear model, e.g. `mead2020` (HMCode-2020, arXiv:2009.01858).
    """
    import camb

    params = camb_parameters(cosmology)
    params.WantCls = False
    params.NonLinear = camb.model.NonLinear_none
    feedback = cosmology.get("log10_T_AGN", 7.8)
    params.NonLinearModel.set_params(nonlinear, HMCode_logT_AGN=feedback)
    redshifts = np.unique(np.append(z, 0.0))
    params.set_matter_power(redshifts=redshifts[::-1], kmax=k_max, nonlinear=False)
    results = camb.get_transfer_functions(params)
    # the transfer functions do not know the amplitude: scale A_s to the wanted sigma_8
    results.calc_power_spectra()
    scale = (cosmology["sigma_8"] / results.get_sigma8_0()) ** 2
    params.InitPower.As = A_S_START * scale
    results.power_spectra_from_transfer(params.InitPower)
    grid = {"minkh": K_MIN_H_MPC, "maxkh": k_max, "npoints": N_K}
    k, _, linear = results.get_matter_power_spectrum(**grid)
    results.Params.NonLinear = camb.model.NonLinear_both
    results.calc_power_spectra()
    _, _, boosted = results.get_matter_power_spectrum(**grid)
    return Power(k=k, linear=linear[0], nonlinear=boosted[np.searchsorted(redshifts, z)])


def feedback_response(cosmology: Mapping[str, float], z: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return P / P without feedback of HMCode-2020, shape (n_z, n_k).

    Parameters
    ----------
    cosmology
        As for `compute_power`, with `log10_T_AGN` (K).
    z, k
        Redshifts, shape (n_z,), and wavenumbers in h/Mpc, shape (n_k,).
    """
    plain, fed = (
        compute_power(cosmology, z, max(k[-1], 1.0), model)
        for model in ("mead2020", "mead2020_feedback")
    )
    ratio = fed.nonlinear / plain.nonlinear
    return np.stack([np.interp(np.log(k), np.log(plain.k), row) for row in ratio])
