"""Who simulates what: splits, the tiers each runs on, and their chunks."""

from collections.abc import Mapping, Sequence
from typing import Any

MESH_TIERS = ("lpt", "particle_mesh")
WITHOUT_HIGH = ("prior", "low_only")
SIMS_PER_SPLIT = 10_000_000


def splits(ladder: Sequence[str]) -> dict[str, list[str]]:
    """Return the tiers that every split is simulated on, by split.

    `bulk` and `validation` run on the cheapest tier, `test` on the top one, and `pairs_<tier>` on
    a tier and its lower neighbour. No sim belongs to two splits.
    """
    pairs = {f"pairs_{high}": [low, high] for low, high in zip(ladder, ladder[1:], strict=False)}
    return {"bulk": [ladder[0]], "validation": [ladder[0]], "test": [ladder[-1]], **pairs}


def kind(split: str) -> str:
    """Return the config's name of a split: `pairs` for `pairs_<tier>`, else its own."""
    return "pairs" if split.startswith("pairs_") else split


def n_sims(split: str, simulate: Mapping[str, Any]) -> int:
    """Return the number of sims of a split."""
    return simulate["sims"][kind(split)]


def n_chunks(split: str, simulate: Mapping[str, Any]) -> int:
    """Return the number of chunks of a split."""
    return -(-n_sims(split, simulate) // simulate["chunk_size"][kind(split)])


def realisations(split: str, simulate: Mapping[str, Any]) -> int:
    """Return how many sims of a split share one cosmology."""
    return simulate["realisations_per_cosmology"] if split in ("bulk", "validation") else 1


def uses_mesh(tier: str, simulate: Mapping[str, Any]) -> bool:
    """Say whether a tier's phases are those of the linear density on the mesh."""
    options = simulate["tiers"].get(tier, {})
    return tier in MESH_TIERS or bool(options.get("uses_mesh", False))


def shares_mesh(split: str, ladder: Sequence[str], simulate: Mapping[str, Any]) -> bool:
    """Say whether the sims of a split take their phases from the mesh: pairs with a mesh tier."""
    return kind(split) == "pairs" and any(uses_mesh(t, simulate) for t in splits(ladder)[split])


def runs(methods: Sequence[str], n_high: Sequence[int]) -> list[tuple[str, int]]:
    """Return every method with every number of high-fidelity sims; 0 where it uses none."""
    return [(m, n) for m in methods for n in ([0] if m in WITHOUT_HIGH else sorted(n_high))]
