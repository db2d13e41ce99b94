"""Tables of the benchmarks: ratios against their targets, scaling, and what a survey run costs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

CHEAP = ("theory_s", "new_sim_s", "write_s")
AGAIN = ("same_sim_s", "write_s")
HOUR, GB = 3600.0, 1e9


class Timings:
    """The measurements of all cases.

    Parameters
    ----------
    table
        One row a measurement: the columns of `Run.key`, `part`, which says its unit, and `value`.
    options
        The config's `benchmarks`.
    """

    def __init__(self, table: pd.DataFrame, options: Mapping[str, Any]) -> None:
        self.table = table
        self.nside, self.n_mesh = options["nside"], options["n_mesh"]
        self.n_shells, self.memory = options["n_shells"], options["memory"]
        self.usual = {
            "nside": self.nside[0], "n_shells": self.n_shells, "n_mesh": self.n_mesh[0],
            "threads": 1, "processes": 1, "tier": "-",
        }  # fmt: skip

    def of(self, case: str, *parts: str, **where: Any) -> float:
        """Return the sum of parts, each the median of its rounds.

        `where` names the columns that differ from the first sizes, one thread and one process.
        """
        chosen = self.table[self.table["case"] == case]
        for column, value in (self.usual | where).items():
            chosen = chosen[chosen[column] == value]
        medians = chosen.groupby("part")["value"].median()
        return float(sum(medians[part] for part in parts))


def speed_table(timings: Timings) -> pd.DataFrame:
    """Return every ratio with its target: `benchmark, setting, value, target, met`."""
    rows = [*_cheap_rows(timings), *_mesh_rows(timings), *_memory_rows(timings)]
    table = pd.DataFrame(rows, columns=["benchmark", "setting", "value", "target"])
    table["met"] = [_met(row.value, row.target) for row in table.itertuples()]
    return table


def _cheap_rows(timings: Timings) -> list[tuple[str, str, float, str]]:
    rows = []
    for nside in timings.nside:
        setting = f"nside {nside}, {timings.n_shells} shells"

        def cheap(*parts: str, nside: int = nside) -> float:
            return timings.of("LognormalSim", *parts, nside=nside)

        new, known = cheap(*CHEAP), cheap(*AGAIN)
        transforms, single = cheap("transforms_s"), cheap("single_pass_s")
        for benchmark, value, target in (
            ("spherical transforms of a sim (ms)", 1e3 * transforms, ""),
            ("cheap sim, known cosmology / transforms", known / transforms, "<= 3"),
            ("cheap sim, new cosmology without P(k) / transforms", new / transforms, "<= 3"),
            ("the same / transforms without iterated analysis", new / single, ""),
            ("P(k) by CAMB (ms)", 1e3 * cheap("power_s"), ""),
        ):
            rows.append((benchmark, setting, value, target))
    example, setting = timings.of("GlassExample", "sim_s"), f"nside {timings.nside[0]}"
    new, power = timings.of("LognormalSim", *CHEAP), timings.of("LognormalSim", "power_s")
    rows += [
        ("GLASS + CAMB example (s)", setting, example, ""),
        ("GLASS + CAMB example / cheap sim without P(k)", setting, example / new, ">= 500"),
        ("GLASS + CAMB example / cheap sim with CAMB's P(k)", setting, example / (new + power), ""),
    ]
    return rows


def _mesh_rows(timings: Timings) -> list[tuple[str, str, float, str]]:
    rows = []
    for n_mesh in timings.n_mesh:
        steps, rest, one = (
            timings.of("MeshSim", part, n_mesh=n_mesh) for part in ("steps_s", "rest_s", "wall_s")
        )
        two = timings.of("MeshSim", "wall_s", n_mesh=n_mesh, threads=2)
        setting = f"{n_mesh}^3, nside {timings.nside[0]}"
        rows += [
            ("PySCo's own steps of a sim (s)", setting, steps, ""),
            ("light cone, matching and maps / PySCo's steps", setting, rest / steps, "<= 1.5"),
            ("one thread / two threads, N-body sim", setting, one / two, ">= 1.6"),
        ]
    for tier in ("lognormal", "particle_mesh"):
        one, two = (timings.of("Throughput", "sims_per_s", tier=tier, processes=n) for n in (1, 2))
        rows.append((f"sims per second, two processes / one, {tier}", "", two / one, ">= 1.8"))
    return rows


def _memory_rows(timings: Timings) -> list[tuple[str, str, float, str]]:
    memory = timings.memory
    large = timings.of("MeshSim", "peak_rss_gib", **memory)
    cheap = timings.table[timings.table["case"] == "LognormalMemory"]
    wide = cheap.pivot_table(index="n_sims", columns="part", values="value").sort_index()
    own = wide["peak_rss_gib"] - wide["maps_gib"]
    most = int(wide.index[-1])
    return [
        ("peak memory (GiB)", f"{memory['n_mesh']}^3, nside {memory['nside']}", large, "<= 6"),
        (f"peak memory of {most} cheap sims / of one, maps aside", f"nside {timings.nside[0]}",
         float(own.iloc[-1] / own.iloc[0]), "<= 1.1"),
    ]  # fmt: skip


def _met(value: float, target: str) -> str:
    if not target:
        return ""
    relation, limit = target.split()
    good = value <= float(limit) if relation == "<=" else value >= float(limit)
    return "yes" if good else "no"


def fit_exponent(x: Any, seconds: Any) -> float:
    """Return p of the power law seconds ~ x^p, by least squares in the logarithms."""
    return float(np.polyfit(np.log(x), np.log(seconds), 1)[0])


def scaling_table(timings: Timings) -> pd.DataFrame:
    """Return how costs grow: `cost, variable, values, seconds, exponent`."""
    shells = [timings.n_shells // 2, timings.n_shells, 2 * timings.n_shells]
    laws = [
        ("transforms", "LognormalSim", ["transforms_s"], "nside", timings.nside),
        ("cheap sim", "LognormalSim", AGAIN, "nside", timings.nside),
        ("cheap sim", "LognormalSim", AGAIN, "n_shells", shells),
        ("theory without P(k)", "LognormalSim", ["theory_s"], "nside", timings.nside),
        ("theory without P(k)", "LognormalSim", ["theory_s"], "n_shells", shells),
        ("N-body steps", "MeshSim", ["steps_s"], "n_mesh", timings.n_mesh),
        ("N-body light cone and maps", "MeshSim", ["rest_s"], "n_mesh", timings.n_mesh),
        ("N-body light cone and maps", "MeshSim", ["rest_s"], "nside", timings.nside[:2]),
    ]
    rows = []
    for cost, case, parts, variable, values in laws:
        seconds = [timings.of(case, *parts, **{variable: value}) for value in values]
        shown = [" ".join(f"{x:.4g}" for x in series) for series in (values, seconds)]
        rows.append((cost, variable, *shown, fit_exponent(values, seconds)))
    columns = ["cost", "variable", "values", "seconds", "exponent"]
    return pd.DataFrame(rows, columns=columns)


def estimate_survey(
    timings: Timings, scaling: pd.DataFrame, run: Mapping[str, Any], n_bins: int, shared: int
) -> pd.DataFrame:
    """Return core-hours and disk of a survey run by extrapolation: `sims, number, core_h, disk_gb`.

    Parameters
    ----------
    timings, scaling
        The measurements and `scaling_table`.
    run
        `nside, n_shells, n_mesh` of the run, its numbers of sims `bulk` and `high`, and
        `sky_fraction`.
    n_bins
        Tomographic bins.
    shared
        Bulk sims that share a cosmology.
    """
    laws = scaling.set_index(["cost", "variable"])["exponent"]
    start = {
        "nside": timings.nside[-1], "n_shells": timings.n_shells, "n_mesh": timings.n_mesh[-1]
    }  # fmt: skip

    def scaled(cost: str, seconds: float, **begin: int) -> float:
        for variable in laws.loc[cost].index:
            origin = (start | begin)[variable]
            seconds *= (run[variable] / origin) ** laws.loc[(cost, variable)]
        return seconds

    finest = timings.nside[-1]
    cheap = scaled("cheap sim", timings.of("LognormalSim", *AGAIN, nside=finest))
    theory = scaled("theory without P(k)", timings.of("LognormalSim", "theory_s", nside=finest))
    theory += timings.of("LognormalSim", "power_s", nside=finest)
    steps, rest = (
        timings.of("MeshSim", part, n_mesh=timings.n_mesh[-1]) for part in ("steps_s", "rest_s")
    )
    expensive = scaled("N-body steps", steps)
    expensive += scaled("N-body light cone and maps", rest, nside=timings.nside[0])
    map_gb = n_bins * 2 * 12 * run["nside"] ** 2 * run["sky_fraction"] * 4 / GB
    bulk, high = run["bulk"], run["high"]
    rows = [
        ("bulk, cheap", bulk, bulk * (cheap + theory / shared) / HOUR, bulk * map_gb),
        ("pairs, both members", high, high * (cheap + theory + expensive) / HOUR,
         2 * high * map_gb),
    ]  # fmt: skip
    rows.append(("all", bulk + high, rows[0][2] + rows[1][2], rows[0][3] + rows[1][3]))
    return pd.DataFrame(rows, columns=["sims", "number", "core_h", "disk_gb"])
