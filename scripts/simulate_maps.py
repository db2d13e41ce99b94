"""Simulate a chunk of sims on one tier and write their noisy shear maps."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from mflens.errors import DataError
from mflens.io import read_hdf5, read_table, write_hdf5
from mflens.job import start_job
from mflens.prior import Prior
from mflens.simulate.chunk import Matching, Sim, simulate_chunk
from mflens.simulate.lightcone import Mesh
from mflens.simulate.survey import make_survey
from mflens.simulate.tiers import Sky, make_tier
from mflens.theory.cosmology import Cosmology, make_geometry
from mflens.theory.design import are_paired
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
    files = chosen.get(f"file_{tier}", [""] * len(chosen))
    own = map(nuisances.complete, chosen[nuisances.names].to_numpy())
    rows = chosen["cosmology"].map(row)
    sims = [
        Sim(s.sim, s.seed, lambda i=i: cosmology(i), matching(i), n, file)
        for s, i, n, file in zip(chosen.itertuples(), rows, own, files, strict=True)
    ]
    made = make_tier(tier, simulate["tiers"].get(tier, {}), sky)
    arrays = simulate_chunk(sims, made, survey, sky, n_convergence)
    arrays["sim"] = chosen["sim"].to_numpy(dtype=np.int64)
    arrays["seed"] = chosen["seed"].to_numpy(dtype=np.int64)
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
        "tier_options": json.dumps(simulate["tiers"].get(tier, {}), sort_keys=True),
        "n_regularised": getattr(made, "n_regularised", 0),
        "power": about["power"], "emulator_error_percent": about["emulator_error_percent"],
    }  # fmt: skip
    write_hdf5(maps, arrays, attributes)


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
            spectra=theory["spectra"][i],
        )

    return make


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
