"""Checks of the config's section `simulate.survey`, beyond its schema."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mflens.errors import ConfigError
from mflens.parameters import Z_FAR, reach
from mflens.problems import AUTO, empty_prior, not_increasing
from mflens.simulate.survey.depth import (
    comoving_distance,
    corners,
    redshift_at,
    shells_needed,
    shifted,
)
from mflens.simulate.survey.redshifts import Sources, formula_end, read_sources

Config = Mapping[str, Any]

KEY = "simulate.survey"
NSIDE_OF_LOOK = 256
PER_BIN = ("delta_z", "stretch", "m")
ALIGNMENT = ("A_IA", "eta_IA", "z_pivot_IA")


def check_survey(config: Config) -> Iterator[str]:
    """Check that sources lie within the shells and that every bin has its galaxies and shapes."""
    survey = config["simulate"]["survey"]
    problems = list(_check_formula(survey["redshifts"]))
    yield from problems
    if problems:
        return
    try:
        sources = read_sources(survey["redshifts"])
    except ConfigError as error:
        yield str(error)
        return
    n_bins = len(sources.n)
    per_bin = {name: survey[name] for name in ("n_gal_arcmin2", "sigma_e")}
    for name, values in per_bin.items():
        if isinstance(values, list) and len(values) != n_bins:
            yield (
                f"{KEY}.{name}: {values} has {len(values)} entries for {n_bins} tomographic bins; "
                "give one number for each bin."
            )
    if survey["source_bias"] and survey["noise"] != "poisson":
        yield (
            f"{KEY}.source_bias: {survey['source_bias']} needs galaxy counts, but {KEY}.noise is "
            f"{survey['noise']}; set noise to poisson or source_bias to 0."
        )
    yield from _beyond_shells(config, sources)


def check_nuisances(config: Config) -> Iterator[str]:
    """Check that nuisances have known names, priors with a width and possible values."""
    survey = config["simulate"]["survey"]
    nuisances = survey["nuisances"]
    n_bins = len(survey["n_gal_arcmin2"])
    known = [f"{name}_{b}" for name in PER_BIN for b in range(1, n_bins + 1)] + list(ALIGNMENT)
    for name, entry in nuisances.items():
        key = f"{KEY}.nuisances.{name}"
        if name not in known:
            yield f"{key}: unknown nuisance with {n_bins} bins; choose from {', '.join(known)}."
        yield from empty_prior(key, entry)
        floor = {"stretch": 0.0, "m": -1.0}.get(re.sub(r"_\d+$", "", name))
        if floor is not None and reach(entry)[0] <= floor:
            yield f"{key}: it may reach {reach(entry)[0]:g}, not above {floor:g}; narrow the prior."
    if isinstance(nuisances.get("z_pivot_IA"), Mapping):
        yield f"{KEY}.nuisances.z_pivot_IA: the pivot redshift has no prior; give a number."
    pivot = nuisances.get("z_pivot_IA", 0.0)
    if not isinstance(pivot, Mapping) and pivot < 0:
        yield f"{KEY}.nuisances.z_pivot_IA: {pivot} is no redshift; give a number from 0 up."
    if "z_pivot_IA" in nuisances and "eta_IA" not in nuisances:
        yield f"{KEY}.nuisances.z_pivot_IA: no power law has this pivot; add eta_IA or remove it."
    if "eta_IA" in nuisances and not {"A_IA", "z_pivot_IA"} <= nuisances.keys():
        yield (
            f"{KEY}.nuisances.eta_IA: a power law needs an amplitude and a pivot; give A_IA and "
            "z_pivot_IA too."
        )


def check_mask(config: Config) -> Iterator[str]:
    """Check that a mask is of one kind, that its file can be read and that it has some sky."""
    mask, nside = config["simulate"]["survey"]["mask"], config["simulate"]["nside"]
    if mask in ("octant", "full"):
        return
    from mflens.simulate.survey.footprint import mask_file, observed_fraction

    if isinstance(mask, Mapping):
        kinds = [name for name in ("caps", "path") if mask.get(name) is not None]
        if len(kinds) != 1 or ("caps" in kinds and mask.get("column") is not None):
            yield (
                f"{KEY}.mask: it has {' and '.join(kinds) or 'neither caps nor path'}; give caps, "
                "or path and perhaps column, and set the others to null."
            )
            return
    if not mask_file(mask):
        # caps are areas: a coarse look will do, a fine one may not fit into memory
        nside = min(nside, NSIDE_OF_LOOK)
    try:
        fraction = observed_fraction(mask, nside)
    except ConfigError as error:
        yield str(error)
        return
    threshold = config["simulate"]["survey"]["min_coverage"]
    if not (fraction >= threshold).any():
        yield (
            f"{KEY}.mask: {mask!r} has no pixel of at least {KEY}.min_coverage = {threshold} at "
            f"nside {nside}; give a mask with some sky in it."
        )


def _check_formula(options: Mapping[str, Any]) -> Iterator[str]:
    """Check the bins of source distributions given by formula."""
    key = f"{KEY}.redshifts"
    if options["kind"] == "smail":
        edges = options["edges"]
        yield from not_increasing(f"{key}.edges", edges)
        if edges[-1] > formula_end(options):
            yield (
                f"{key}.edges: the last edge {edges[-1]} is beyond z_max = {options['z_max']}; "
                "lower it, raise z_max or set it to auto."
            )
    elif options["kind"] == "gaussian":
        mean, sd = options["mean"], options["sd"]
        yield from not_increasing(f"{key}.mean", mean)
        if len(sd) != len(mean):
            yield f"{key}.sd: {sd} has {len(sd)} entries for {len(mean)} bins; give one for each."
            return
        if mean[-1] > formula_end(options):
            yield (
                f"{key}.mean: the last bin at {mean[-1]} is beyond z_max = {options['z_max']}; "
                "lower it, raise z_max or set it to auto."
            )


def _beyond_shells(config: Config, sources: Sources) -> Iterator[str]:
    """Check that the shells reach the deepest source wherever the prior makes it farthest."""
    redshifts, nuisances = (config["simulate"]["survey"][k] for k in ("redshifts", "nuisances"))
    z = shifted(sources.deepest, sources.mean, nuisances)
    key = f"{KEY}.redshifts.{'path' if redshifts['kind'] == 'file' else 'z_max'}"
    if z > Z_FAR:
        yield (
            f"{key}: sources reach z = {z:g}, but beyond z = {Z_FAR:g} matter is not followed; "
            "lower the redshift."
        )
    theory = config["theory"]
    shells, farthest = theory["shells"], corners(theory["parameters"]).farthest
    if shells["n_shells"] == AUTO:
        return
    end = shells["n_shells"] * shells["thickness_mpc_h"]
    needed = shells_needed(z, theory)
    if shells["n_shells"] < needed:
        yield (
            f"theory.shells.n_shells: {shells['n_shells']} shells end at {end:g} Mpc/h, but "
            f"sources reach z = {z:g} ({key}), {comoving_distance(z, *farthest):.0f} Mpc/h away at "
            f"{farthest}; set it to auto, here {needed}, or lower the redshift."
        )
    if redshift_at(end - shells["thickness_mpc_h"], farthest) > Z_FAR:
        yield (
            f"theory.shells.n_shells: {shells['n_shells']} shells end at {end:g} Mpc/h, beyond "
            f"z = {Z_FAR:g} in every cosmology of the prior; set it to auto, here {needed}."
        )
