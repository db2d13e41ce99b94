"""Checks of the whole config before any job starts: first the schema, then the physics.

The Snakefile runs this, so nothing heavy is imported unless the config needs it.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mflens.errors import ConfigError
from mflens.parameters import (
    AMPLITUDES,
    amplitude_problems,
    dark_energy_problems,
    given,
    matter_problems,
    power_parameters,
    reach,
)
from mflens.problems import AUTO, empty_prior, is_normal, line, no_folder, not_increasing, repeated
from mflens.run.disk_check import check_disk
from mflens.run.plan import DISK_TIERS, MESH_TIERS, n_inferred
from mflens.run.schema import check_schema
from mflens.run.survey_check import check_mask, check_nuisances, check_survey
from mflens.run.task_check import check_tasks

Config = Mapping[str, Any]

WITHOUT_FEEDBACK = ("lognormal", "lpt", "particle_mesh")
MOST_SIMS = 10_000_000  # of a split: the numbers behind belong to the next one
MOST_JOBS = 100_000  # of a rule: a larger graph takes hours to build
LONGEST_NAME = 200  # bytes; names of files may add some of the 255 there are
BUILT_IN_TIERS = (*WITHOUT_FEEDBACK, "baryons", *DISK_TIERS)


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


def check_results(config: Config) -> Iterator[str]:
    """Check that the folder of results is a plain path, as file patterns and shells need it."""
    folder = config["results_dir"]
    key, plain = f"results_dir: {folder!r}", os.path.normpath(folder)
    if not folder.isprintable() or folder != folder.strip():
        yield f"{key} has invisible characters or space at its ends; give a plain name."
    elif set("{}") & set(folder):
        yield f"{key} has braces, which Snakemake takes for wildcards; give a name without them."
    elif folder.startswith("~"):
        yield f"{key} starts with ~, which is not replaced here; write the path in full."
    elif Path(folder).name in ("", ".."):
        yield f"{key} is no folder of its own; name one below it."
    elif plain != folder:
        yield f"{key} is not the shortest way to write it; write {plain!r}."
    elif max(len(os.fsencode(part)) for part in Path(folder).parts) > LONGEST_NAME:
        yield f"{key} has a name of more than {LONGEST_NAME} bytes; give a shorter one."
    else:
        yield from no_folder(folder)


def check_prior(config: Config) -> Iterator[str]:
    """Check that priors have a width, that one amplitude is given and one parameter is free."""
    parameters = given(config["theory"]["parameters"])
    free = {name: entry for name, entry in parameters.items() if isinstance(entry, Mapping)}
    for name, entry in free.items():
        yield from empty_prior(f"theory.parameters.{name}", entry)
    if not free:
        yield (
            "theory.parameters: no parameter is free, all are numbers; give at least one a prior."
        )
    yield from amplitude_problems(parameters)
    emulated = config["theory"]["power"] == "emulator"
    positive = ("Omega_m", "h", "Omega_b", *AMPLITUDES)
    for name in (name for name in positive if name in parameters):
        low = reach(parameters[name])[0]
        if low <= 0 and (emulated or not is_normal(parameters[name])):
            yield (
                f"theory.parameters.{name}: it may reach {low}, which is not positive; "
                "raise the prior's lower bound or the number."
            )
    if reach(parameters["m_nu"])[0] < 0 and (emulated or not is_normal(parameters["m_nu"])):
        yield (
            f"theory.parameters.m_nu: it may reach {reach(parameters['m_nu'])[0]} eV, below 0; "
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
    yield from repeated("ladder", ladder)
    for name in ladder:
        if not name.isidentifier():
            yield f"ladder: tier '{name}' is no Python name; rename it, it becomes a folder."
        if name not in BUILT_IN_TIERS:
            yield from _class_problem(f"simulate.tiers.{name}.class", tiers[name]["class"])


def check_feedback(config: Config) -> Iterator[str]:
    """Check that feedback has a strength where something knows it, and no prior where none does."""
    strength = config["theory"]["parameters"].get("log10_T_AGN")
    key, nonlinear = "theory.parameters.log10_T_AGN", config["theory"]["nonlinear"]
    needing = [tier for tier in config["ladder"] if tier == "baryons"]
    needing += [nonlinear] if nonlinear.endswith("feedback") else []
    if needing and strength is None:
        yield f"{key}: {needing[0]} needs it; add a number or a prior, 7.8 is typical."
    unknown = set(config["ladder"]) <= set(WITHOUT_FEEDBACK) and not needing
    if isinstance(strength, Mapping) and unknown:
        yield (
            f"{key}: it has a prior but no tier of the ladder {list(config['ladder'])} depends on "
            "it; add the tier baryons or give a number."
        )


def check_sims(config: Config) -> Iterator[str]:
    """Check that splits and chunks hold whole cosmologies."""
    simulate = config["simulate"]
    shared = simulate["realisations_per_cosmology"]
    for split in ("bulk", "validation"):
        for key in ("sims", "chunk_size"):
            value = simulate[key][split]
            if value != AUTO and value % shared:
                yield (
                    f"simulate.{key}.{split}: {value} is not a multiple of "
                    f"simulate.realisations_per_cosmology = {shared}; change one of them."
                )
    yield from _mock_problems(config)
    for split, n in simulate["sims"].items():
        yield from _too_many(f"simulate.sims.{split}", n, simulate["chunk_size"][split])
    emulator = config["theory"]["emulator"]
    for name in ("n_training", "n_validation"):
        yield from _too_many(f"theory.emulator.{name}", emulator[name], emulator["chunk_size"])
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
    yield from not_increasing("simulate.bands", bands)
    if bands[-1] > ell_max:
        yield (
            f"simulate.bands: the last edge {bands[-1]} is beyond simulate.ell_max = {ell_max}; "
            "lower it."
        )


def check_compressor(config: Config) -> Iterator[str]:
    """Check that there is a summary for each inferred parameter; fewer cannot tell them apart."""
    wanted, n = config["compress"]["network"]["n_summaries"], n_inferred(config)
    if wanted != AUTO and wanted < n:
        yield (
            f"compress.network.n_summaries: {wanted} are fewer than the {n} inferred parameters, "
            f"nuisances with infer: true among them; set it to auto or at least {n}."
        )


def check_methods(config: Config) -> Iterator[str]:
    """Check that enough sims are made for all methods, folds and figures."""
    infer, sims = config["infer"], config["simulate"]["sims"]
    folds = infer["n_folds"]
    yield from repeated("infer.n_high", infer["n_high"])
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


def check_benchmarks(config: Config) -> Iterator[str]:
    """Check that meshes and maps of the benchmarks can be made."""
    options = config["benchmarks"]
    sizes = {f"{key}[{i}]": n for key in ("nside", "n_mesh") for i, n in enumerate(options[key])}
    sizes |= {f"memory.{key}": n for key, n in options["memory"].items()}
    for key, value in sizes.items():
        if value & (value - 1):
            yield (
                f"benchmarks.{key}: {value} is not a power of two; "
                f"{2 ** round(math.log2(value))} is the nearest one."
            )


CHECKS: tuple[Callable[[Config], Iterator[str]], ...] = (
    check_results,
    check_prior,
    check_ladder,
    check_feedback,
    check_sims,
    check_resolution,
    check_nuisances,
    check_survey,
    check_mask,
    check_compressor,
    check_methods,
    check_benchmarks,
    check_disk,
    check_tasks,
)


def _mock_problems(config: Config) -> Iterator[str]:
    """Check that pairs which observe one N-body run stay together and that a tier can turn it."""
    simulate, mocks = config["simulate"], config["simulate"]["mocks_per_run"]
    key = f"simulate.mocks_per_run = {mocks}"
    numbers = {f"simulate.{name}.pairs": simulate[name]["pairs"] for name in ("sims", "chunk_size")}
    n_high = config["infer"]["n_high"]
    for name, value in [*numbers.items(), *(("infer.n_high", n) for n in n_high)]:
        if value != AUTO and value % mocks:
            yield f"{name}: {value} is not a multiple of {key}; change one of them."
    for n in n_high:
        if mocks > 1 and n // mocks < config["infer"]["n_folds"]:
            yield (
                f"infer.n_high: {n} sims with {key} are fewer N-body runs than infer.n_folds = "
                f"{config['infer']['n_folds']}; raise n_high or lower one of the others."
            )
    turned = ("lognormal", *MESH_TIERS)
    for name in config["ladder"]:
        if mocks > 1 and name not in turned:
            yield (
                f"{key}: tier {name} of the ladder has no box that mflens can turn, only "
                f"{', '.join(turned)} have; set it to 1."
            )


def _too_many(key: str, n: int, chunk_size: int | str) -> Iterator[str]:
    if n > MOST_SIMS:
        yield f"{key}: {n} is above {MOST_SIMS}; lower it."
    if not isinstance(chunk_size, str) and n / chunk_size > MOST_JOBS:
        yield (
            f"{key}: {n} in chunks of {chunk_size} are more than {MOST_JOBS} jobs; raise the "
            "chunk size."
        )


def _class_problem(key: str, path: str) -> Iterator[str]:
    """Import a user's tier, the only code that a config can name."""
    module, _, name = path.rpartition(".")
    remedy = "give module.Class of an installed module or one on PYTHONPATH."
    try:
        found = getattr(import_module(module), name)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        yield f"{key}: '{path}' cannot be imported ({line(error)}); {remedy}"
        return
    if not hasattr(found, "density_shells") and not hasattr(found, "shear_maps"):
        yield f"{key}: '{path}' has no method density_shells or shear_maps; {remedy}"
