"""Checks of the whole config before any job starts: first the schema, then the physics.

The Snakefile runs this, so nothing heavy is imported unless the config needs it.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from mflens.errors import ConfigError
from mflens.schema import check_schema
from mflens.tasks.check import check_tasks
from mflens.theory.parameters import (
    AMPLITUDES,
    amplitude_problems,
    dark_energy_problems,
    given,
    matter_problems,
    power_parameters,
)
from mflens.theory.parameters import reach as _reach

Config = Mapping[str, Any]

BUILT_IN_TIERS = ("lognormal", "lpt", "particle_mesh")
LIGHT_SPEED_OVER_100 = 2997.92458  # c / (100 km/s/Mpc) in Mpc
OMEGA_M_FLOOR = 0.05


def check_config(config: Config) -> None:
    """Refuse a config that cannot work.

    Parameters
    ----------
    config
        The merged config.

    Raises
    ------
    ConfigError
        With one sentence that names a key, its value and the remedy.
    """
    check_schema(config)
    for check in CHECKS:
        for problem in check(config):
            raise ConfigError(problem)


def check_prior(config: Config) -> Iterator[str]:
    """Check that priors have a width, that one amplitude is given and one parameter is free."""
    parameters = given(config["theory"]["parameters"])
    free = {name: entry for name, entry in parameters.items() if isinstance(entry, Mapping)}
    for name, entry in free.items():
        key = f"theory.parameters.{name}"
        if entry["prior"] == "uniform" and entry["min"] >= entry["max"]:
            yield f"{key}: min {entry['min']} is not below max {entry['max']}; swap or move them."
        if entry["prior"] == "normal" and entry["sd"] <= 0:
            yield f"{key}.sd: {entry['sd']} is not positive; give the standard deviation."
    if not free:
        yield (
            "theory.parameters: no parameter is free, all are numbers; give at least one a prior."
        )
    yield from amplitude_problems(parameters)
    emulated = config["theory"]["power"] == "emulator"
    positive = ("Omega_m", "h", "Omega_b", *AMPLITUDES)
    for name in (name for name in positive if name in parameters):
        low = _reach(parameters[name])[0]
        if low <= 0 and (emulated or not _is_normal(parameters[name])):
            yield (
                f"theory.parameters.{name}: it may reach {low}, which is not positive; "
                "raise the prior's lower bound or the number."
            )
    if _reach(parameters["m_nu"])[0] < 0 and (emulated or not _is_normal(parameters["m_nu"])):
        yield (
            f"theory.parameters.m_nu: it may reach {_reach(parameters['m_nu'])[0]} eV, below 0; "
            "raise it."
        )
    if emulated and not {*free} & {*power_parameters(parameters, config["theory"]["nonlinear"])}:
        yield (
            f"theory.power: emulator, but no prior among {', '.join(free)} changes the power; "
            "set it to camb."
        )
    yield from matter_problems(parameters)
    yield from dark_energy_problems(parameters)


def check_ladder(config: Config) -> Iterator[str]:
    """Check that the ladder has two or more different tiers, all of them known."""
    ladder, tiers = config["ladder"], config["simulate"]["tiers"]
    known = [*BUILT_IN_TIERS, *(name for name in tiers if name not in BUILT_IN_TIERS)]
    for name in ladder:
        if name not in known:
            yield (
                f"ladder: unknown tier '{name}'; name one of {', '.join(known)}, or add "
                f"simulate.tiers.{name} with the `class` of your own tier."
            )
    if len(ladder) < 2:
        yield f"ladder: {ladder} has a single rung; add a second, costlier tier behind it."
    yield from _repeated("ladder", ladder)
    for name in ladder:
        if not name.isidentifier():
            yield f"ladder: tier '{name}' is no Python name; rename it, it becomes a folder."
        if name not in BUILT_IN_TIERS:
            yield from _class_problem(f"simulate.tiers.{name}.class", tiers[name]["class"])


def check_sims(config: Config) -> Iterator[str]:
    """Check that splits and chunks hold whole cosmologies."""
    simulate = config["simulate"]
    shared = simulate["realisations_per_cosmology"]
    for split in ("bulk", "validation"):
        for key in ("sims", "chunk_size"):
            value = simulate[key][split]
            if value % shared:
                yield (
                    f"simulate.{key}.{split}: {value} is not a multiple of "
                    f"simulate.realisations_per_cosmology = {shared}; change one of them."
                )
    kept, pairs = simulate["n_convergence"], simulate["sims"]["pairs"]
    if kept > pairs:
        yield (
            f"simulate.n_convergence: {kept} is more than simulate.sims.pairs = {pairs}; "
            "lower it or make more pairs."
        )


def check_resolution(config: Config) -> Iterator[str]:
    """Check that maps, mesh and bands fit each other."""
    simulate = config["simulate"]
    mesh, nside, ell_max = simulate["mesh"], simulate["nside"], simulate["ell_max"]
    projection = mesh["projection_nside"]
    powers = {"nside": nside, "mesh.projection_nside": projection, "mesh.n_mesh": mesh["n_mesh"]}
    for key, value in powers.items():
        if value & (value - 1):
            near = 2 ** round(math.log2(value))
            yield f"simulate.{key}: {value} is not a power of two; {near} is the nearest one."
    if projection < ell_max:
        yield (
            f"simulate.mesh.projection_nside: {projection} is below simulate.ell_max = {ell_max}, "
            "where the projection of the mesh aliases power; raise it."
        )
    if ell_max > 2 * nside:
        yield (
            f"simulate.ell_max: {ell_max} is above 2 nside = {2 * nside}, where harmonic "
            "transforms lose accuracy; lower it or raise simulate.nside."
        )
    bands = simulate["bands"]
    yield from _not_increasing("simulate.bands", bands)
    if bands[-1] > ell_max:
        yield (
            f"simulate.bands: the last edge {bands[-1]} is beyond simulate.ell_max = {ell_max}; "
            "lower it."
        )


def check_survey(config: Config) -> Iterator[str]:
    """Check that sources lie within the shells and that every bin has its galaxies."""
    survey = config["simulate"]["survey"]
    options, key = survey["redshifts"], "simulate.survey.redshifts"
    if options["kind"] == "smail":
        edges = options["edges"]
        yield from _not_increasing(f"{key}.edges", edges)
        if edges[-1] > options["z_max"]:
            yield (
                f"{key}.edges: the last edge {edges[-1]} is beyond z_max = {options['z_max']}; "
                "lower it or raise z_max."
            )
        n_bins, deepest, source = len(edges) - 1, options["z_max"], f"{key}.z_max"
    else:
        n_bins, deepest = _read_redshifts(f"{key}.path", options["path"])
        source = f"{key}.path"
    galaxies = survey["n_gal_arcmin2"]
    if len(galaxies) != n_bins:
        yield (
            f"simulate.survey.n_gal_arcmin2: {galaxies} has {len(galaxies)} entries for {n_bins} "
            "tomographic bins; give one number for each bin."
        )
    yield from _beyond_shells(config, source, deepest)


def check_mask(config: Config) -> Iterator[str]:
    """Check that a mask file has the resolution of the maps and some sky in it."""
    mask, nside = config["simulate"]["survey"]["mask"], config["simulate"]["nside"]
    if mask in ("octant", "full"):
        return
    key = "simulate.survey.mask"
    if not Path(mask).is_file():
        yield f"{key}: there is no file '{mask}'; give octant, full or the path of a FITS mask."
        return
    import healpy
    import numpy as np

    try:
        values = healpy.read_map(mask, dtype=float)
    except Exception as error:  # healpy and astropy raise many kinds
        yield f"{key}: '{mask}' is no HEALPix FITS map ({_line(error)}); give another file."
        return
    found = healpy.get_nside(values)
    if found != nside:
        yield (
            f"{key}: '{mask}' has nside {found} but simulate.nside = {nside}; "
            "regrade the mask or change nside."
        )
    if not np.all((values >= 0) & (values <= 1)):
        bad = values[~((values >= 0) & (values <= 1))][0]
        yield f"{key}: '{mask}' holds {bad}; give a mask with values from 0 to 1."
    elif not np.any(values >= 0.5):
        yield f"{key}: '{mask}' has no pixel of at least 0.5; give a mask with some sky in it."


def check_methods(config: Config) -> Iterator[str]:
    """Check that enough sims are made for all methods, folds and figures."""
    infer, sims = config["infer"], config["simulate"]["sims"]
    folds = infer["n_folds"]
    yield from _repeated("infer.n_high", infer["n_high"])
    for n in infer["n_high"]:
        if n > sims["pairs"]:
            yield (
                f"infer.n_high: {n} high-fidelity sims are asked for, but simulate.sims.pairs = "
                f"{sims['pairs']}; make more pairs or lower n_high."
            )
        if n < 2 * folds:
            yield (
                f"infer.n_high: {n} is too few for infer.n_folds = {folds}; give at least "
                f"{2 * folds} or use fewer folds."
            )
    test = sims["test"]
    for key in (("evaluate", "n_chains"), ("report", "triangle_sims")):
        value = config[key[0]][key[1]]
        if value > test:
            yield (
                f"{'.'.join(key)}: {value} is more than simulate.sims.test = {test}; lower it or "
                "make more test sims."
            )


CHECKS: tuple[Callable[[Config], Iterator[str]], ...] = (
    check_prior,
    check_ladder,
    check_sims,
    check_resolution,
    check_survey,
    check_mask,
    check_methods,
    check_tasks,
)


def comoving_distance(z: float, Omega_m: float) -> float:
    """Return the comoving distance in Mpc/h to redshift z in flat LCDM without radiation."""
    import numpy as np

    grid = np.linspace(0.0, z, 2049)
    expansion = np.sqrt(Omega_m * (1 + grid) ** 3 + 1 - Omega_m)
    return LIGHT_SPEED_OVER_100 * float(np.trapezoid(1 / expansion, grid))


def _beyond_shells(config: Config, key: str, z: float) -> Iterator[str]:
    shells = config["theory"]["shells"]
    end = shells["n_shells"] * shells["thickness_mpc_h"]
    lowest = min(max(_reach(config["theory"]["parameters"]["Omega_m"])[0], OMEGA_M_FLOOR), 1.0)
    distance = comoving_distance(z, lowest)
    if distance > end:
        needed = math.ceil(distance / shells["thickness_mpc_h"])
        yield (
            f"{key}: sources reach z = {z:g}, {distance:.0f} Mpc/h away at Omega_m = {lowest:g}, "
            f"but the shells end at {end:g} Mpc/h; set theory.shells.n_shells to {needed} or "
            "lower the redshift."
        )


def _read_redshifts(key: str, path: str) -> tuple[int, float]:
    """Return the number of bins and the highest redshift with sources of a redshift file."""
    import numpy as np

    if not Path(path).is_file():
        raise ConfigError(f"{key}: there is no file '{path}'; give the path of a redshift table.")
    try:
        table = np.loadtxt(path, ndmin=2)
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"{key}: '{path}' is no table of numbers ({_line(error)}); give columns z, n_1, ..."
        ) from error
    if table.shape[0] < 2 or table.shape[1] < 2:
        raise ConfigError(
            f"{key}: '{path}' has {table.shape[0]} rows and {table.shape[1]} columns; give a "
            "column z and one n(z) for each bin, over several rows."
        )
    z, bins = table[:, 0], table[:, 1:]
    if not (np.all(np.isfinite(table)) and np.all(np.diff(z) > 0) and z[0] >= 0):
        raise ConfigError(f"{key}: the first column of '{path}' must be redshifts that increase.")
    if np.any(bins < 0) or np.any(bins.sum(axis=0) <= 0):
        raise ConfigError(f"{key}: '{path}' has a bin with negative or no sources; mend the table.")
    return bins.shape[1], float(z[bins.any(axis=1)].max())


def _class_problem(key: str, path: str) -> Iterator[str]:
    """Import a user's tier, the only code that a config can name."""
    module, _, name = path.rpartition(".")
    remedy = "give module.Class of an installed module or one on PYTHONPATH."
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # a user's module may raise anything
        yield f"{key}: '{path}' cannot be imported ({_line(error)}); {remedy}"
        return
    if not hasattr(found, "density_shells"):
        yield f"{key}: '{path}' has no method density_shells; {remedy}"


def _is_normal(entry: Any) -> bool:
    return isinstance(entry, Mapping) and entry["prior"] == "normal"


def _repeated(key: str, values: Sequence[Any]) -> Iterator[str]:
    for value in values:
        if values.count(value) > 1:
            yield f"{key}: {value!r} stands in {list(values)} more than once; remove the repeats."


def _not_increasing(key: str, edges: Sequence[float]) -> Iterator[str]:
    for low, high in pairwise(edges):
        if low >= high:
            yield f"{key}: {list(edges)} does not increase from {low} to {high}; sort the edges."


def _line(error: Exception) -> str:
    """Return an error of another library as a short line without a final stop."""
    return " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
