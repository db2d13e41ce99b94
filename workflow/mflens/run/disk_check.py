"""Checks of the tiers whose sims the user has on disk."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from os.path import exists
from pathlib import Path
from typing import Any

from mflens.parameters import given
from mflens.run.plan import NEED_PAIRS, disk_splits, is_lensed, is_matched, kind, on_disk, splits

Config = Mapping[str, Any]


def check_disk(config: Config) -> Iterator[str]:
    """Check sims on disk: their tables, files and numbers, and that no method asks for pairs."""
    ladder, simulate = config["ladder"], config["simulate"]
    tiers = [tier for tier in ladder if on_disk(tier, simulate)]
    for tier in tiers:
        if tier not in simulate["tiers"]:
            yield (
                f"simulate.tiers.{tier}: this key is missing; give it the format, path and table "
                "of the sims on disk."
            )
            return
    for low, high in pairwise(ladder):
        both = low in tiers and high in tiers
        if both != (high in tiers and simulate["tiers"][high]["paired"]):
            yield (
                f"simulate.tiers.{high}.paired: {str(not both).lower()} does not fit {low} below "
                "it; sims on disk are paired with others on disk, by column `pair` of both tables, "
                "and with nothing else."
            )
        wanting = [name for name in config["infer"]["methods"] if name in NEED_PAIRS]
        if wanting and not is_matched(f"pairs_{high}", ladder, simulate):
            yield (
                f"infer.methods: '{wanting[0]}' learns from pairs with the same random numbers, "
                f"which {low} and {high} do not share, as one of them is on disk; take it out and "
                "use transfer, high_only or linear."
            )
    for tier in tiers:
        if is_lensed(tier, simulate):
            yield from _lensed_already(tier, simulate["survey"])
    if tiers:
        yield from _sim_problems(config, tiers)


def _lensed_already(tier: str, survey: Config) -> Iterator[str]:
    """Check that nothing is asked of maps of shear that would need their density."""
    lost = [name for name in survey["nuisances"] if not name.startswith("m_")]
    if lost:
        yield (
            f"simulate.survey.nuisances.{lost[0]}: the maps of {tier} are lensed already and "
            "cannot take it; remove it or use shells_on_disk."
        )
    if survey["source_bias"]:
        yield (
            f"simulate.survey.source_bias: {survey['source_bias']} needs densities, which the maps "
            f"of {tier} do not have; set it to 0 or use shells_on_disk."
        )


def _sim_problems(config: Config, tiers: Sequence[str]) -> Iterator[str]:
    """Check the tables of the tiers on disk, that their files exist and that they are enough."""
    from mflens.design.draw import allocate_sims
    from mflens.design.sim_table import fixed_problems, parameter_problems, read_sim_table

    ladder, simulate = config["ladder"], config["simulate"]
    parameters = given(config["theory"]["parameters"])
    tables = {}
    for tier in tiers:
        options = simulate["tiers"][tier]
        tables[tier] = read_sim_table(options["table"])
        yield from parameter_problems(options["table"], tables[tier], parameters)
        yield from fixed_problems(options["table"], parameters)
        absent = [f for f in tables[tier]["file"] if not exists(Path(options["path"], f))]
        if absent:
            yield (
                f"simulate.tiers.{tier}.path: '{options['path']}' does not hold {absent[0]} of "
                f"{options['table']}; mend one of them."
            )
        if options["paired"] and not all("pair" in tables[t] for t in tiers if t in tables):
            yield f"{options['table']}: there is no column 'pair' that names initial conditions."
    sizes = {split: simulate["sims"][kind(split)] for split in splits(ladder)}
    free = [name for name, entry in parameters.items() if isinstance(entry, Mapping)]
    allocate_sims(tables, disk_splits(ladder, simulate), sizes, free, config["seed"])
