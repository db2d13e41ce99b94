"""Tables of the benchmarks: ratios against their targets, scaling, and what a survey run costs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

SIM = ("sim_s", "write_s")
NEW = ("power_s", "cosmology_s", *SIM)
HOUR, GB = 3600.0, 1e9


class Timings:
    """The measurements of all cases.

    Parameters
    ----------
    table
        One row a measurement: the columns of `Run.key`, `part`, which says its unit, and `value`.
    options
        The config's `benchmarks`.
    power
        The config's `theory.power`.
    """

    def __init__(self, table: pd.DataFrame, options: Mapping[str, Any], power: str) -> None:
        self.table, self.power = table, power
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
    camb = timings.of("CambPower", "power_s")
    rows = [("P(k) by CAMB (ms)", "", 1e3 * camb, "")]
    ratio = "GLASS + CAMB example / cheap sim of a new cosmology"
    for nside in timings.nside:
        transforms, known, new, power = (
            timings.of("LognormalSim", *parts, nside=nside)
            for parts in (["transforms_s"], SIM, NEW, ["power_s"])
        )
        example = timings.of("GlassExample", "sim_s", nside=nside)
        setting = f"nside {nside}, {timings.n_shells} shells"
        rows += [
            ("spherical transforms of a sim, one pass each (ms)", setting, 1e3 * transforms, ""),
            ("cheap sim, known cosmology / transforms", setting, known / transforms, "<= 3"),
            ("cheap sim, new cosmology, with everything / transforms", setting, new / transforms,
             "<= 3"),
            (f"P(k) of it, by {timings.power} (ms)", setting, 1e3 * power, ""),
            ("GLASS + CAMB example (s)", setting, example, ""),
            (f"{ratio}, with everything", setting, example / new, ">= 500"),
            (f"{ratio}, P(k) by CAMB", setting, example / (new - power + camb), ""),
        ]  # fmt: skip
    return rows


def _mesh_rows(timings: Timings) -> list[tuple[str, str, float, str]]:
    rows = []
    for n_mesh in timings.n_mesh:
        steps, rest, one = (
            timings.of("MeshSim", part, n_mesh=n_mesh) for part in ("steps_s", "rest_s", "wall_s")
        )
        two = timings.of("MeshSim", "wall_s", n_mesh=n_mesh, threads=2)
        pysco = timings.of("PyscoSteps", "pysco_s", n_mesh=n_mesh)
        setting = f"{n_mesh}^3, nside {timings.nside[0]}"
        rows += [
            ("time steps of a sim, by PySCo itself (s)", setting, pysco, ""),
            ("time steps of a sim, PySCo's forces in our loop (s)", setting, steps, ""),
            ("light cone, matching and maps / PySCo's time steps", setting, rest / pysco, "<= 1.5"),
            ("light cone, matching and maps / our time steps", setting, rest / steps, "<= 1.5"),
            ("one thread / two threads, N-body sim", setting, one / two, ">= 1.6"),
        ]
    alone = [timings.of("Arithmetic", "products_per_s", processes=n) for n in (1, 2)]
    rows.append(("matrix products per second, two processes / one", "", alone[1] / alone[0], ""))
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
        ("cheap sim", "LognormalSim", SIM, "nside", timings.nside),
        ("cheap sim", "LognormalSim", SIM, "n_shells", shells),
        ("new cosmology without P(k)", "LognormalSim", ["cosmology_s"], "nside", timings.nside),
        ("new cosmology without P(k)", "LognormalSim", ["cosmology_s"], "n_shells", shells),
        ("projection kernels", "LognormalSim", ["kernels_s"], "nside", timings.nside),
        ("projection kernels", "LognormalSim", ["kernels_s"], "n_shells", shells),
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
    timings: Timings,
    scaling: pd.DataFrame,
    run: Mapping[str, Any],
    n_bins: int,
    shared: int,
    n_calibration: int,
    emulator_s: float,
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
    n_calibration
        Linear draws that calibrate the seed matching.
    emulator_s
        Core-seconds that the emulator took, training spectra included; 0 without one.
    """
    laws = scaling.set_index(["cost", "variable"])["exponent"]

    def scaled(cost: str, case: str, parts: Sequence[str], **measured: int) -> float:
        """Return the seconds at the run's size by the laws of a cost, from the size measured."""
        seconds = timings.of(case, *parts, **measured)
        for variable in laws.loc[cost].index:
            start = (timings.usual | measured)[variable]
            seconds *= (run[variable] / start) ** laws.loc[(cost, variable)]
        return seconds

    nside, n_mesh = timings.nside[-1], timings.n_mesh[-1]
    sim = scaled("cheap sim", "LognormalSim", SIM, nside=nside)
    theory = timings.of("LognormalSim", "power_s", nside=nside)
    theory += scaled("new cosmology without P(k)", "LognormalSim", ["cosmology_s"], nside=nside)
    steps = scaled("N-body steps", "MeshSim", ["steps_s"], n_mesh=n_mesh)
    rest = scaled("N-body light cone and maps", "MeshSim", ["rest_s"], **timings.memory)
    kernels = scaled("projection kernels", "LognormalSim", ["kernels_s"], nside=nside)
    map_gb = n_bins * 2 * 12 * run["nside"] ** 2 * run["sky_fraction"] * 4 / GB
    spectra_gb = (2 * run["nside"] + 1) * run["n_shells"] ** 2 * 8 / GB
    bulk, high = run["bulk"], run["high"]
    rows = [
        ("bulk, cheap", bulk, bulk * (sim + theory / shared),
         bulk * (map_gb + spectra_gb / shared)),
        # their theory holds the covariance of the projected mesh as well
        ("pairs, both members", high, high * (sim + theory + steps + rest),
         2 * high * (map_gb + spectra_gb)),
        # `rest` projects twice, a draw of the calibration once or along finer lines of sight, too
        ("kernels, emulator, calibration", 1, kernels + emulator_s + n_calibration * rest, 0.0),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["sims", "number", "core_h", "disk_gb"])
    table["core_h"] /= HOUR
    total = ["all", bulk + high, table["core_h"].sum(), table["disk_gb"].sum()]
    return pd.concat([table, pd.DataFrame([total], columns=table.columns)], ignore_index=True)
