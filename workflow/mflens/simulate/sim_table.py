"""The table of the sims that a tier on disk has: file, parameters, and what they are paired by.

A CSV table with one row for each sim. Column `file` is its path below the tier's folder; `pair`, if
there, the name that the same initial conditions have in the table of another tier; the others are
parameters, by mflens's names or those of GetDist, Cobaya, CosmoSIS, CCL, CosmoGrid or the Gower
Street sheet. Further columns are ignored.
"""

from collections.abc import Iterator, Mapping
from os.path import isfile
from typing import Any

import numpy as np
import pandas as pd

from mflens.errors import ConfigError
from mflens.prior import ROUNDING
from mflens.problems import line
from mflens.theory.parameters import N_SIGMA, reach

ALIASES = {
    "Omega_m": ("omegam", "omega_m", "Om"),
    "sigma_8": ("sigma8",),
    "S_8": ("S8",),
    "A_s": ("As",),
    "h": ("little_h", "h0"),
    "n_s": ("ns",),
    "Omega_b": ("Ob",),
    "m_nu": ("mnu", "m_ncdm"),
    "w0": ("w", "w0_fld"),
    "wa": ("wa_fld",),
    "H0": (),
    "Omega_b_h2": ("omegabh2", "ombh2", "Omega_b little_h^2"),
}
AMBIGUOUS = {"s8": "sigma_8 or S_8", "omega_b": "Omega_b or Omega_b_h2"}
# what the sims are taken to have where neither table nor config names it
STANDARD = {"w0": -1.0, "wa": 0.0}
TOLERANCE = 1e-4  # relative, between the table and a number in the config


def read_sim_table(path: str) -> pd.DataFrame:
    """Read a table of sims.

    Returns
    -------
    DataFrame
        `file`, `pair` where the table has it, and all parameters that it has or that follow from
        them, by mflens's names.

    Raises
    ------
    ConfigError
        If it is no such table; the sentence names the file.
    """
    if not isfile(path):
        raise ConfigError(f"{path}: there is no such table of sims; give the path of a CSV file.")
    try:
        table = pd.read_csv(path, dtype={"file": str, "pair": str}, skipinitialspace=True)
    except Exception as error:  # pandas raises many kinds
        raise ConfigError(
            f"{path} is no CSV table ({line(error)}); write one header row, and commas."
        ) from error
    table.columns = table.columns.str.strip()
    for problem in _table_problems(path, table):
        raise ConfigError(problem)
    known = {alias: name for name, aliases in ALIASES.items() for alias in (name, *aliases)}
    kept = table[[name for name in table if name in known or name in ("file", "pair")]]
    return _derive(kept.rename(columns=known))


def _table_problems(path: str, table: pd.DataFrame) -> Iterator[str]:
    for name, meaning in AMBIGUOUS.items():
        if name in table:
            yield f"{path}: the column '{name}' is ambiguous; call it {meaning}."
    if table.empty:
        yield f"{path}: the table has no rows; write one for each sim."
        return
    if "file" not in table:
        yield f"{path}: there is no column 'file' with the sims' files; add it."
        return
    for name, aliases in ALIASES.items():
        columns = [column for column in (name, *aliases) if column in table]
        if len(columns) > 1:
            yield f"{path}: columns {' and '.join(columns)} mean the same; keep one of them."
        for column in columns:
            values = pd.to_numeric(table[column], errors="coerce")
            if not np.all(np.isfinite(values)):
                row = table[~np.isfinite(values)].iloc[0]
                yield f"{path}: {row['file']} has {column} = {row[column]}; give a number."
    for name in {"file", "pair"} & set(table):
        if table[name].isna().any() or table[name].duplicated().any():
            yield f"{path}: column '{name}' has empty or repeated entries; name every sim once."


def _derive(table: pd.DataFrame) -> pd.DataFrame:
    """Add h, Omega_b, S_8 and sigma_8 where they follow from other columns."""
    derived = {
        "h": (("H0",), lambda t: t["H0"] / 100),
        "Omega_b": (("Omega_b_h2", "h"), lambda t: t["Omega_b_h2"] / t["h"] ** 2),
        "S_8": (("sigma_8", "Omega_m"), lambda t: t["sigma_8"] * (t["Omega_m"] / 0.3) ** 0.5),
        "sigma_8": (("S_8", "Omega_m"), lambda t: t["S_8"] / (t["Omega_m"] / 0.3) ** 0.5),
    }
    for name, (needed, function) in derived.items():
        if name not in table and set(needed) <= set(table):
            table = table.assign(**{name: function})
    return table


def parameter_problems(
    path: str, table: pd.DataFrame, parameters: Mapping[str, Any]
) -> Iterator[str]:
    """Compare a table of sims with the config's `theory.parameters`.

    Yields
    ------
    str
        A sentence for a free parameter that the table lacks, and for the first sim outside a prior
        or with another value than a fixed parameter.
    """
    for name, entry in {**STANDARD, **parameters}.items():
        if name not in table:
            if isinstance(entry, Mapping):
                yield (
                    f"{path}: there is no column {name}, which theory.parameters.{name} gives a "
                    "prior; add it, or fix the parameter to the sims' number."
                )
            continue
        values = table[name].astype(float)
        wrong, rule, remedy = _outside(values, entry)
        if isinstance(entry, Mapping) and not wrong.any() and np.ptp(values) == 0:
            yield (
                f"{path}: all sims have {name} = {values.iloc[0]:g}, from which the prior that "
                f"theory.parameters.{name} gives it cannot be learned; fix the parameter to it."
            )
        if wrong.any():
            i = int(np.argmax(wrong))
            yield (
                f"{path}: {table['file'].iloc[i]} has {name} = {values.iloc[i]:g}, but "
                f"theory.parameters.{name} is {rule}; {remedy}."
            )


def _outside(values: pd.Series, entry: Any) -> tuple[np.ndarray, str, str]:
    """Return which sims an entry of the config rules out, what it asks for, and the remedy."""
    if not isinstance(entry, Mapping):
        wrong = ~np.isclose(values, entry, rtol=TOLERANCE, atol=0 if entry else TOLERANCE)
        return wrong, f"fixed to {entry:g}", "give it a prior or drop such sims"
    low, high = reach(entry)
    rule = f"between {low} and {high}"
    if entry["prior"] == "normal":
        rule = f"taken from {low:g} to {high:g}, {N_SIGMA:g} sd from its mean"
    slack = ROUNDING * (high - low)
    wrong = ~values.between(low - slack, high + slack).to_numpy()
    return wrong, rule, "widen the prior or drop such sims"
