"""Names, defaults and reach of the cosmological parameters; light, for the check of the config."""

from collections.abc import Iterator, Mapping
from typing import Any

SHAPE = ("Omega_m", "h", "n_s", "Omega_b", "m_nu", "w0", "wa")
AMPLITUDES = ("sigma_8", "S_8", "A_s")
DARK_ENERGY = {"w0": -1.0, "wa": 0.0}  # a cosmological constant, where the config says nothing
N_SIGMA = 4.0  # ASSUME a normal prior reaches so far from its mean; draws beyond stand there
A_START = 1e-3  # scale factor at which the growth begins
Z_MAX = 1 / A_START - 1  # to which distances and growth are tabulated
# ASSUME shells beyond this redshift hold the matter of that time: no source is so far, and they are
# there for other cosmologies of the prior, in which they are nearer in time
Z_FAR = 20.0
NEUTRINO_EV = 93.14  # m_nu over Omega_nu h^2 (eV)


def reach(entry: Any) -> tuple[float, float]:
    """Return the range of values that a parameter of the config may take."""
    if not isinstance(entry, Mapping):
        return entry, entry
    if entry["prior"] == "uniform":
        return entry["min"], entry["max"]
    return entry["mean"] - N_SIGMA * entry["sd"], entry["mean"] + N_SIGMA * entry["sd"]


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters without those that an overlay has taken out (null)."""
    return {name: entry for name, entry in parameters.items() if entry is not None}


def power_parameters(parameters: Mapping[str, Any], nonlinear: str) -> dict[str, Any]:
    """Return the entries that the power spectra depend on, dark energy's defaults included.

    The temperature of feedback counts where the non-linear model depends on it.
    """
    relevant = {*SHAPE, *AMPLITUDES, *["log10_T_AGN"] * nonlinear.endswith("feedback")}
    entries = DARK_ENERGY | given(parameters)
    return {name: entry for name, entry in entries.items() if name in relevant}


def amplitude_problems(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong if not exactly one parameter fixes the amplitude of the power."""
    found = [name for name in AMPLITUDES if name in parameters]
    if not found:
        yield (
            "theory.parameters: none of sigma_8, S_8 and A_s is given; give one of them, it is "
            "the amplitude of the power spectrum."
        )
    if len(found) > 1:
        yield (
            f"theory.parameters: {' and '.join(found)} are both amplitudes of the power spectrum; "
            f"keep one and set the other to null, for example {found[0]}: null."
        )


def matter_problems(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong if baryons and neutrinos may outweigh all matter."""
    low, high = (reach(parameters[name]) for name in ("Omega_m", "Omega_b"))
    neutrinos = max(reach(parameters["m_nu"])[1], 0.0) / NEUTRINO_EV
    hubble = reach(parameters["h"])[0]
    heavy = high[1] + (neutrinos / hubble**2 if hubble > 0 else 0.0)
    if heavy >= low[0]:
        yield (
            f"theory.parameters.Omega_m: it may reach {low[0]:g} while baryons and neutrinos may "
            f"together reach {heavy:g}, which leaves no cold dark matter; raise its lower bound or "
            "lower Omega_b."
        )


def dark_energy_problems(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Say what is wrong if dark energy may not fade in the past."""
    early = sum(reach(parameters.get(name, value))[1] for name, value in DARK_ENERGY.items())
    if early >= 0:
        yield (
            f"theory.parameters.wa: w0 + wa may reach {early:g}, where dark energy would outweigh "
            "matter in the past; keep it below 0."
        )
