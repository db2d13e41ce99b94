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

from mflens.design.columns import (
    AMBIGUOUS,
    RANGES,
    Column,
    as_printed,
    implausible,
    is_known,
    name_of,
    work_out,
)
from mflens.errors import ConfigError
from mflens.parameters import N_SIGMA, reach
from mflens.prior import ROUNDING
from mflens.problems import line

# what the sims are taken to have where neither table nor config names it
STANDARD = {"w0": -1.0, "wa": 0.0}
TOLERANCE = 1e-4  # relative, between the table and a number in the config


# what may follow from other columns and be asked for by `theory.parameters`
DERIVED = ("Omega_m", "h", "Omega_b", "sigma_8", "S_8", "A_s")


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
        If it is no such table, or contradicts itself; the sentence names the file.
    """
    table, columns = _read_columns(path)
    known, contradictions = work_out(columns)
    for i, problem in contradictions:
        raise ConfigError(f"{path}: {table['file'].iloc[i]} has {problem}")
    kept = [name for name in known if name in columns or name in DERIVED]
    return table.assign(**{name: known[name].values for name in kept})


def _read_columns(path: str) -> tuple[pd.DataFrame, dict[str, Column]]:
    """Return the columns `file` and `pair` of a table, and its parameters by mflens's names."""
    if not isfile(path):
        raise ConfigError(f"{path}: there is no such table of sims; give the path of a CSV file.")
    try:
        # with a header, pandas renames columns that are there twice and takes some for an index
        rows = pd.read_csv(path, header=None, dtype=str, skipinitialspace=True)
    except Exception as error:  # pandas raises many kinds
        raise ConfigError(
            f"{path} is no CSV table ({line(error)}); write one header row, and commas."
        ) from error
    table = rows.iloc[1:].reset_index(drop=True)
    table.columns = rows.iloc[0].fillna("").str.strip()
    for problem in _table_problems(path, table):
        raise ConfigError(problem)
    columns: dict[str, Column] = {}
    for label in filter(is_known, table):
        column = as_printed(label, table[label])
        name = name_of(label, column.values)
        if name in columns:
            both = f"{next(iter(columns[name].given))} and {label}"
            raise ConfigError(f"{path}: columns {both} mean the same; keep one of them.")
        columns[name] = column
    for i, problem in implausible(columns):
        raise ConfigError(f"{path}: {table['file'].iloc[i]} has {problem}")
    return table[[name for name in table if name in ("file", "pair")]], columns


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
    for name in table.columns[table.columns.duplicated()]:
        if is_known(name) or name in ("file", "pair"):
            yield f"{path}: there are two columns '{name}'; keep one of them."
            return
    for column in filter(is_known, table):
        values = pd.to_numeric(table[column], errors="coerce")
        if not np.all(np.isfinite(values)):
            row = table[~np.isfinite(values)].iloc[0]
            yield f"{path}: {row['file']} has {column} = {row[column]}; give a number."
    for name in {"file", "pair"} & set(table):
        if table[name].isna().any() or table[name].duplicated().any():
            yield f"{path}: column '{name}' has empty or repeated entries; name every sim once."


def fixed_problems(path: str, parameters: Mapping[str, Any]) -> Iterator[str]:
    """Compare a table with the numbers of the config that it does not have itself.

    Omega_b h^2 in a table without h, for one, says what Omega_b is with the config's h.

    Yields
    ------
    str
        A sentence for the first sim that contradicts them.
    """
    table, columns = _read_columns(path)
    known, _ = work_out(columns)
    numbers = {
        name: as_printed(f"theory.parameters.{name}", [entry] * len(table))
        for name, entry in parameters.items()
        if name in RANGES and name not in known and not isinstance(entry, Mapping)
    }
    for i, problem in work_out({**columns, **numbers})[1]:
        yield f"{path}: {table['file'].iloc[i]} has {problem}"


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
