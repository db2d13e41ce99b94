"""Measure how alike the members of pairs are, and how white the matched phases."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from mflens.errors import DataError
from mflens.io import read_hdf5, write_hdf5, write_markdown, write_table
from mflens.job import start_job
from mflens.pairing import (
    compare_pairs,
    convergence_harmonics,
    octave_edges,
    pairing_edges,
    summarise_pairing,
    summarise_whitening,
)


def main(
    maps: Sequence[str],
    pairing: str,
    pairing_markdown: str,
    whitening: str,
    whitening_markdown: str,
    comparison: str,
    ladder: Sequence[str],
    bands: Sequence[int],
) -> None:
    """Write tables for the ladder's top, and r of every sim for all neighbouring tiers."""
    kept, ell_max = read_kept(maps)
    edges = pairing_edges(bands)
    levels = [
        compare_pairs(
            *(
                convergence_harmonics(kept[upper, t]["convergence"], ell_max)
                for t in (lower, upper)
            ),
            ell_max,
            edges,
        )
        for lower, upper in zip(ladder[:-1], ladder[1:], strict=True)
    ]
    table = summarise_pairing(levels[-1], edges)
    write_table(pairing, table)
    write_markdown(pairing_markdown, table)
    white = [arrays["white_spectra"] for arrays in kept.values()]
    table = summarise_whitening(np.concatenate(white), octave_edges(ell_max))
    write_table(whitening, table)
    write_markdown(whitening_markdown, table)
    stacked = {name: np.stack([level[name] for level in levels]) for name in levels[-1]}
    sims = np.stack([kept[upper, upper]["convergence_sim"] for upper in ladder[1:]])
    write_hdf5(
        comparison, {**stacked, "sim": sims, "edges": np.array(edges)}, {"ladder": list(ladder)}
    )


def read_kept(paths: Sequence[str]) -> tuple[dict[tuple[str, str], dict[str, np.ndarray]], int]:
    """Read the sims that keep their convergence, by upper tier of the pairs and own tier."""
    names = ["convergence", "convergence_sim", "white_spectra"]
    chunks: dict[tuple[str, str], list[dict[str, np.ndarray]]] = defaultdict(list)
    attributes: dict[str, Any] = {}
    for path in paths:
        arrays, attributes = read_hdf5(path, names)
        upper = attributes["split"].removeprefix("pairs_")
        chunks[upper, attributes["tier"]].append(arrays)
    kept = {}
    for key, parts in chunks.items():
        joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
        order = np.argsort(joined["convergence_sim"])
        ordered = {name: joined[name][order] for name in ("convergence", "convergence_sim")}
        kept[key] = {**joined, **ordered}
    for upper, tier in kept:
        if not np.array_equal(*(kept[upper, t]["convergence_sim"] for t in (upper, tier))):
            raise DataError(
                f"the pairs of {tier} and {upper} keep the convergence of different sims; delete "
                f"the folders pairs_{upper} of both tiers and run snakemake again."
            )
    return kept, int(attributes["ell_max"])


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
