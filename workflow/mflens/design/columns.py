"""Columns of a table of sims: their names, plausible values, and what follows from them.

Tables give a parameter in several ways (h and H0, Omega_b and Omega_b h^2). All that follows from
others is worked out, and where a table gives it too, both must agree to the digits that it prints.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from mflens.parameters import NEUTRINO_EV

ALIASES = {
    "Omega_m": ("omegam", "omega_m", "Om"),
    "sigma_8": ("sigma8",),
    "S_8": ("S8",),
    "A_s": ("As", "a_s"),
    "ln_1e10_A_s": ("ln10^{10}A_s", "ln10^10A_s", "ln10A_s", "log1e10As", "logA"),
    "h": ("little_h",),
    "n_s": ("ns",),
    "Omega_b": ("Ob", "omegab"),
    "Omega_c": ("Oc", "omegac", "Omega_cdm", "O_cdm"),
    "Omega_de": ("Ol", "omegal", "Omega_L", "Omega_l", "Omega_Lambda", "omega_lambda"),
    "Omega_k": ("Ok", "omegak", "omega_k", "omk"),
    "m_nu": ("mnu",),
    "w0": ("w", "w0_fld"),
    "wa": ("wa_fld",),
    "H0": ("H_0", "hubble"),
    "Omega_m_h2": ("omegamh2", "ommh2", "Omega_m little_h^2"),
    "Omega_b_h2": ("omegabh2", "ombh2", "Omega_b little_h^2"),
    "Omega_c_h2": ("omegach2", "omch2", "omega_cdm", "Omega_c little_h^2"),
}
NAMES = {alias: name for name, aliases in ALIASES.items() for alias in (name, *aliases)}
AMBIGUOUS = {
    "s8": "sigma_8 or S_8",
    "omega_b": "Omega_b or Omega_b_h2",
    "omega_c": "Omega_c or Omega_c_h2",
    "m_ncdm": "m_nu if it is the sum of the masses",
}
HUBBLE = "h0"  # h or H0, which its size tells
RANGES = {
    "Omega_m": (0.01, 1.0), "sigma_8": (0.05, 3.0), "S_8": (0.05, 3.0), "A_s": (1e-10, 1e-7),
    "ln_1e10_A_s": (1.0, 6.0), "h": (0.2, 2.0), "n_s": (0.2, 2.0), "Omega_b": (1e-4, 0.5),
    "Omega_c": (0.0, 1.0), "Omega_de": (0.0, 1.0), "Omega_k": (-1e-4, 1e-4), "m_nu": (0.0, 20.0),
    "w0": (-5.0, 0.0), "wa": (-10.0, 10.0), "H0": (20.0, 200.0), "Omega_m_h2": (0.001, 2.0),
    "Omega_b_h2": (1e-4, 0.2), "Omega_c_h2": (0.0, 2.0),
}  # fmt: skip
UNITS = {
    "h": "in units of 100 km/s/Mpc (H0 is in km/s/Mpc)",
    "H0": "in km/s/Mpc (h is in units of 100 km/s/Mpc)",
    "A_s": "itself, not 1e9 of it or its logarithm",
    "m_nu": "the sum in eV",
    "Omega_k": "0, as the N-body tiers and the theory are flat",
}
# Numbers count as printed to three digits at least: of 0.7 more is meant than from 0.65 to 0.75
LEAST_DIGITS = 2e-3
FLOOR = 1e-4  # relative, of what definitions differ in
RADIATION = 2e-3  # of Omega_de, which some tables give without photons and neutrinos


@dataclass(frozen=True)
class Relation:
    """How a parameter follows from others.

    Attributes
    ----------
    name, needed
        The parameter, and those it is worked out from.
    function
        Of these, in their order.
    slack
        Of the same: how far definitions of the parameter lie apart.
    """

    name: str
    needed: tuple[str, ...]
    function: Callable[..., Any]
    slack: Callable[..., Any] = lambda *_: 0.0


RELATIONS = (
    Relation("h", ("H0",), lambda hubble: hubble / 100),
    Relation("Omega_m", ("Omega_m_h2", "h"), lambda omega, h: omega / h**2),
    Relation("Omega_b", ("Omega_b_h2", "h"), lambda omega, h: omega / h**2),
    Relation("Omega_c", ("Omega_c_h2", "h"), lambda omega, h: omega / h**2),
    Relation(
        "Omega_m",
        ("Omega_c", "Omega_b", "m_nu", "h"),
        lambda cold, baryons, m_nu, h: cold + baryons + m_nu / NEUTRINO_EV / h**2,
        # some tables count neutrinos as matter, some do not
        lambda cold, baryons, m_nu, h: m_nu / NEUTRINO_EV / h**2,
    ),
    Relation("Omega_de", ("Omega_m",), lambda matter: 1 - matter, lambda matter: RADIATION),
    Relation("S_8", ("sigma_8", "Omega_m"), lambda sigma, matter: sigma * (matter / 0.3) ** 0.5),
    Relation("sigma_8", ("S_8", "Omega_m"), lambda s, matter: s / (matter / 0.3) ** 0.5),
    Relation("A_s", ("ln_1e10_A_s",), lambda logarithm: 1e-10 * np.exp(logarithm)),
)


@dataclass(frozen=True)
class Column:
    """A parameter of all sims.

    Attributes
    ----------
    values
        Shape (n,).
    error
        By how much rounding may have moved them, shape (n,).
    given
        Values by the name in table or config, shape (n,): its own, or those it follows from.
    """

    values: np.ndarray
    error: np.ndarray
    given: Mapping[str, np.ndarray]


def is_known(column: str) -> bool:
    """Say whether a column is a parameter."""
    return column in NAMES or column == HUBBLE


def name_of(column: str, values: np.ndarray) -> str:
    """Return mflens's name of a parameter's column."""
    if column == HUBBLE:
        return "H0" if values.min() > RANGES["h"][1] else "h"
    return NAMES[column]


def as_printed(label: str, texts: Sequence[Any]) -> Column:
    """Return a column of numbers, each known to half a unit of its last digit."""
    values = np.array([float(text) for text in texts])
    places = [int(Decimal(str(text).strip()).as_tuple().exponent) for text in texts]
    error = np.minimum(10.0 ** np.array(places) / 2, LEAST_DIGITS * np.abs(values))
    return Column(values, error, {label: values})


def implausible(columns: Mapping[str, Column]) -> Iterator[tuple[int, str]]:
    """Yield the row of a sim, and what is wrong with a value that it gives."""
    for name, column in columns.items():
        low, high = RANGES[name]
        wrong = (column.values < low) | (column.values > high)
        if wrong.any():
            i = int(np.argmax(wrong))
            unit = f", {UNITS[name]}" if name in UNITS else ""
            yield (
                i,
                f"{_say(column, i)}, which is no {name}{unit}; give numbers from {low:g} to "
                f"{high:g} or call the column what it is.",
            )


def work_out(columns: Mapping[str, Column]) -> tuple[dict[str, Column], list[tuple[int, str]]]:
    """Return the columns and all that follow from them, and where these disagree.

    Returns
    -------
    known
        Columns by name, those that are given as they are.
    contradictions
        Row of a sim, and which of the columns that are given disagree.
    """
    known, contradictions = dict(columns), []
    for relation in RELATIONS:
        if not set(relation.needed) <= set(known):
            continue
        needed = [known[name] for name in relation.needed]
        found = _apply(relation.function, needed)
        if relation.name not in known:
            known[relation.name] = found
            continue
        stated = known[relation.name]
        slack = relation.slack(*(column.values for column in needed))
        allowed = stated.error + found.error + slack + FLOOR * np.abs(found.values)
        wrong = np.abs(stated.values - found.values) > allowed
        if wrong.any():
            i = int(np.argmax(wrong))
            contradictions.append(
                (
                    i,
                    f"{_say(stated, i)}, but also {_say(found, i)}, which means {relation.name} = "
                    f"{found.values[i]:.4g}; correct them, or take out what is wrong.",
                )
            )
    return known, contradictions


def _apply(function: Callable[..., np.ndarray], needed: Sequence[Column]) -> Column:
    """Return what follows from columns, its error the sum of what each of theirs does."""
    values = [column.values for column in needed]
    found, error = function(*values), np.zeros(len(values[0]))
    for i, column in enumerate(needed):
        moved = [v + column.error * (i == j) for j, v in enumerate(values)]
        error = error + np.abs(function(*moved) - found)
    given = {label: v for column in needed for label, v in column.given.items()}
    return Column(found, error, given)


def _say(column: Column, i: int) -> str:
    return " and ".join(f"{label} = {values[i]:g}" for label, values in column.given.items())
