"""Measure how alike the members of pairs are, and how white the matched phases."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mflens.errors import DataError
from mflens.evaluate.pairing import (
    compare_pairs,
    convergence_harmonics,
    correlate_partly,
    octave_edges,
    pairing_edges,
    summarise_pairing,
    summarise_replication,
    summarise_whitening,
)
from mflens.files.io import read_hdf5, write_hdf5, write_markdown, write_table
from mflens.run.job import start_job
from mflens.theory.kernels import Shells

FRACTIONS = (0.75, 0.5, 0.25)


def main(
    maps: Sequence[str],
    pairing: str,
    pairing_markdown: str,
    whitening: str,
    whitening_markdown: str,
    replication: str,
    replication_markdown: str,
    comparison: str,
    ladder: Sequence[str],
    bands: Sequence[int],
    shells: dict[str, Any],
    box_mpc_h: float,
) -> None:
    """Write tables of the pairs, the phases and the box, and r of every sim."""
    kept, ell_max = read_kept(maps)
    edges = pairing_edges(bands)
    levels = []
    for lower, upper in zip(ladder[:-1], ladder[1:], strict=True):
        low, high = (
            convergence_harmonics(kept[upper, tier]["convergence"], ell_max)
            for tier in (lower, upper)
        )
        level = compare_pairs(low, high, ell_max, edges)
        levels.append(level | {"r_partly": correlate_partly(low, high, ell_max, edges, FRACTIONS)})
    write_both(pairing, pairing_markdown, summarise_pairing(levels, ladder, edges))
    white = np.concatenate([arrays["white_spectra"] for arrays in kept.values()])
    table = summarise_whitening(white, octave_edges(ell_max))
    write_both(whitening, whitening_markdown, table)
    table = summarise_replication(Shells(**shells), box_mpc_h)
    write_both(replication, replication_markdown, table)
    stacked = {name: np.stack([level[name] for level in levels]) for name in levels[-1]}
    sims = np.stack([kept[upper, upper]["convergence_sim"] for upper in ladder[1:]])
    arrays = stacked | {"sim": sims, "edges": np.array(edges), "fractions": np.array(FRACTIONS)}
    write_hdf5(comparison, arrays, {"ladder": list(ladder)})


def write_both(path: str, markdown: str, table: pd.DataFrame) -> None:
    """Write a table as CSV and as Markdown."""
    write_table(path, table)
    write_markdown(markdown, table)


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
