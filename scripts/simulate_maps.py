"""Simulate a chunk of sims on one tier and write their noisy shear maps."""

import json
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from mflens.design.draw import are_paired
from mflens.errors import DataError
from mflens.files.io import read_hdf5, read_table, write_hdf5
from mflens.prior import Prior
from mflens.run.job import start_job
from mflens.run.plan import uses_mesh
from mflens.simulate.chunk import Matching, Sim, simulate_chunk
from mflens.simulate.mesh.lightcone import Mesh, repeated_share
from mflens.simulate.survey.survey import make_survey
from mflens.simulate.tiers import Sky, make_tier
from mflens.theory.cosmology import Cosmology, make_geometry
from mflens.theory.kernels import Shells


def main(
    table: str,
    spectra: str,
    maps: str,
    parameters: dict[str, Any],
    inferred: dict[str, Any],
    shells: dict[str, Any],
    simulate: dict[str, Any],
    threads: int,
    first: int,
    last: int,
    n_convergence: int,
    tier: str,
    split: str,
    chunk: str,
    whitening: str | None = None,
) -> None:
    """Write `sim, theta, maps, pixel` and, of the first sims of a split, their convergence."""
    prior, nuisances = Prior(parameters), Prior(simulate["survey"]["nuisances"])
    sky = Sky(Shells(**shells), simulate["nside"], simulate["ell_max"], Mesh(**simulate["mesh"]))
    survey = make_survey(simulate["survey"], sky.nside)
    theory, about = read_hdf5(spectra)
    matched = whitening is not None and "covariance" in theory
    variance = read_hdf5(whitening)[0]["variance"] if matched else None
    row = {number: i for i, number in enumerate(theory["cosmology"])}

    cosmology = cosmologies(theory, prior, sky.shells)

    def matching(i: int) -> Matching | None:
        if variance is None:
            return None
        return Matching(theory["covariance"][i], theory["fill"][i], variance)

    chosen = read_table(table).query("split == @split").iloc[first:last]
    missing = set(chosen["cosmology"]) - set(row)
    if missing:
        raise DataError(f"{spectra} lacks cosmology {min(missing)}; delete it and run again.")
    own = map(nuisances.complete, chosen[nuisances.names].to_numpy())
    columns = (
        chosen["cosmology"].map(row),
        own,
        chosen.get(f"file_{tier}", [""] * len(chosen)),
        runs(chosen, simulate["mocks_per_run"]),
    )
    sims = [
        Sim(s.sim, s.seed, lambda i=i: cosmology(i), matching(i), *rest)
        for s, i, *rest in zip(chosen.itertuples(), *columns, strict=True)
    ]
    made = make_tier(tier, simulate["tiers"][tier], sky)
    arrays = simulate_chunk(sims, made, survey, sky, n_convergence)
    arrays |= {name: chosen[name].to_numpy(dtype=np.int64) for name in ("sim", "seed", "cosmology")}
    names = Prior(inferred).names
    arrays["theta"] = chosen[names].to_numpy(dtype=float)
    arrays["pixel"], arrays["coverage"] = survey.pixel, survey.coverage
    arrays["convergence_sim"] = arrays["sim"][: len(arrays["convergence"])]
    attributes = {
        "tier": tier, "split": split, "chunk": chunk, "nside": sky.nside, "ell_max": sky.ell_max,
        "ordering": "nested", "unit": "dimensionless", "component": ["gamma_1", "gamma_2"],
        "polarisation": "COSMO", "parameters": names, "threads": threads,
        "footprint": json.dumps(simulate["survey"]["mask"]), "noise_sd": survey.noise_sd,
        "paired": are_paired(chosen),
        "tier_options": json.dumps(simulate["tiers"][tier], sort_keys=True),
        "n_regularised": getattr(made, "n_regularised", 0),
        "power": about["power"], "emulator_error_percent": about["emulator_error_percent"],
    }  # fmt: skip
    if uses_mesh(tier, simulate):
        attributes |= replication(sky.shells, simulate["mesh"]["box_mpc_h"])
    write_hdf5(maps, arrays, attributes)


def runs(chosen: pd.DataFrame, n_mocks: int) -> list[list[int]]:
    """Return for every sim the seeds of all that observe its N-body run; none if it is alone."""
    if n_mocks == 1:
        return [[]] * len(chosen)
    seeds = chosen.groupby("cosmology")["seed"].agg(list)
    return chosen["cosmology"].map(seeds).tolist()


def replication(shells: Shells, box: float) -> dict[str, Any]:
    """Say how often the light cone repeats the box: in the log, and by shell for the file."""
    repeated, lengths = repeated_share(shells, box), shells.edges[1:] / box
    logging.info(
        "lines of sight cross the box of %g Mpc/h %.1f times; of the shells out to %s Mpc/h "
        "%s per cent is seen nearer by as well",
        box,
        lengths[-1],
        ", ".join(f"{edge:.0f}" for edge in shells.edges[1:]),
        ", ".join(f"{100 * share:.0f}" for share in repeated),
    )
    return {"box_mpc_h": box, "box_lengths": lengths, "repeated_share": repeated}


def cosmologies(
    theory: dict[str, np.ndarray], prior: Prior, shells: Shells
) -> Callable[[int], Cosmology]:
    """Return a function that makes the cosmology of a row of the theory, each one once."""

    @cache
    def make(i: int) -> Cosmology:
        geometry = make_geometry(prior.complete(theory["theta"][i]), shells)
        return Cosmology(
            **vars(geometry),
            id=int(theory["cosmology"][i]),
            k=theory["k"],
            linear=theory["linear"][i],
            nonlinear=theory["nonlinear"][i],
            spectra=theory["spectra"][i],
        )

    return make


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
