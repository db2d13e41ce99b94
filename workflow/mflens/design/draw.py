"""The design: which parameters and which seed every sim has."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtr

from mflens.errors import ConfigError
from mflens.parameters import N_SIGMA
from mflens.prior import Prior

SEED_BITS = 63
SIMS_PER_SPLIT = 10_000_000
TAIL = float(ndtr(-N_SIGMA))


def draw_design(
    prior: Prior,
    sizes: Sequence[tuple[str, int, int]],
    seed: int,
    nuisances: Prior | None = None,
) -> pd.DataFrame:
    """Draw parameters from a scrambled Sobol sequence of its own for every split.

    Parameters
    ----------
    prior
        The prior over the free parameters.
    sizes
        Split, number of sims and number of sims that share a cosmology, for each split.
    seed
        The run's seed.
    nuisances
        The prior over the free nuisances, drawn for every sim, also where sims share a cosmology.

    Returns
    -------
    DataFrame
        Columns `sim, seed, split, cosmology`, the free parameters and nuisances. Sims of the k-th
        split are numbered from k * 10^7: more sims in one split change no sim of another, and the
        first n sims stay what they are when a split grows.
    """
    frames = []
    for number, (split, n_sims, realisations) in enumerate(sizes):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        n_cosmologies = -(-n_sims // realisations)
        u = sobol_points(n_cosmologies, len(prior.names), rng=rng)
        # normal priors end where the emulator's training does
        theta = prior.from_unit(np.clip(u, TAIL, 1 - TAIL))
        theta = np.repeat(theta, realisations, axis=0)[:n_sims]
        index = np.arange(n_sims)
        frame = pd.DataFrame(
            {
                "sim": number * SIMS_PER_SPLIT + index,
                "seed": [_seed(seed, number, i) for i in range(n_sims)],
                "split": split,
                "cosmology": number * SIMS_PER_SPLIT + index // realisations,
            }
        )
        frame[prior.names] = theta
        if nuisances is not None and nuisances.names:
            frame[nuisances.names] = _draw_nuisances(
                nuisances, len(prior.names), n_sims, seed, number
            )
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def sobol_points(n: int, d: int, *, rng: np.random.Generator) -> np.ndarray:
    """Return the first n points of a scrambled Sobol sequence in d dimensions, shape (n, d)."""
    from scipy.stats import qmc

    return qmc.Sobol(d, rng=rng).random_base2(int(np.ceil(np.log2(max(n, 2)))))[:n]


def _draw_nuisances(
    nuisances: Prior, n_before: int, n_sims: int, seed: int, split: int
) -> np.ndarray:
    """Draw nuisances from the dimensions of the Sobol sequence behind the cosmology's.

    Dimensions are scrambled one by one, so both together are one sequence, and the cosmologies are
    the same with and without nuisances.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(split, 0, 1)))
    u = sobol_points(n_sims, n_before + len(nuisances.names), rng=rng)
    return nuisances.from_unit(u[:, n_before:])


def _seed(seed: int, split: int, index: int) -> int:
    state = np.random.SeedSequence(seed, spawn_key=(split, index)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(64 - SEED_BITS))


def place_sims(
    design: pd.DataFrame,
    tables: Mapping[str, pd.DataFrame],
    disk_splits: Mapping[str, Sequence[str]],
    names: Sequence[str],
    seed: int,
) -> pd.DataFrame:
    """Give the splits with tiers on disk the sims that the user has.

    Parameters
    ----------
    design
        What `draw_design` returned.
    tables
        Table of the sims of every tier on disk (`read_sim_table`), cheapest tier first.
    disk_splits
        Tiers on disk of the splits that have any.
    names
        Free parameters of the cosmology; those that no table has stay as drawn.
    seed
        The run's seed.

    Returns
    -------
    DataFrame
        The design with the sims' parameters, their cosmologies numbered anew, and a column
        `file_<tier>` for each tier on disk. The other splits stay as they are.

    Raises
    ------
    ConfigError
        If there are not enough sims.
    """
    sizes = design["split"].value_counts(sort=False).to_dict()
    placed = design.assign(**{f"file_{tier}": None for tier in tables})
    for split, sims in allocate_sims(tables, disk_splits, sizes, names, seed).items():
        rows = placed.index[placed["split"] == split]
        for column in [c for c in sims if c in names or c.startswith("file_")]:
            placed.loc[rows, column] = sims[column].to_numpy()
        first = sims.groupby("cosmology")["cosmology"].transform(lambda group: group.index[0])
        placed.loc[rows, "cosmology"] = placed["sim"].loc[rows[0]] + first.to_numpy()
    return placed


def are_paired(sims: pd.DataFrame) -> bool:
    """Say whether the tiers of these pairs share random numbers: not if one alone is on disk."""
    files = [c for c in sims if c.startswith("file_") and sims[c].notna().any()]
    return bool(sims["split"].str.startswith("pairs_").all()) and len(files) != 1


def allocate_sims(
    tables: Mapping[str, pd.DataFrame],
    disk_splits: Mapping[str, Sequence[str]],
    sizes: Mapping[str, int],
    names: Sequence[str],
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Choose sims on disk for every split, no cosmology in two of them.

    Cosmologies are taken in random order, and of each as few sims as will do. The test sims come
    first, then pairs from the top of the ladder down.

    Parameters
    ----------
    tables, disk_splits, names, seed
        As for `place_sims`.
    sizes
        Number of sims of every split.

    Returns
    -------
    dict
        For every split the chosen rows with columns `cosmology`, parameters and `file_<tier>`.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(len(sizes),)))
    order: dict[tuple[str, ...], float] = {}
    offered = {}
    for split, tiers in disk_splits.items():
        sims = join_tables([tables[tier] for tier in tiers], tiers)
        known = [name for name in names if name in sims]
        keys = [tuple(f"{x:.9g}" for x in row) for row in sims[known].to_numpy(dtype=float)]
        for key in keys:
            order.setdefault(key, rng.random())
        sims = sims.assign(cosmology=[order[key] for key in keys]).sort_values("cosmology")
        offered[split] = sims.assign(run=sims.groupby("cosmology").cumcount())
    ranked = sorted(offered, key=lambda s: (s != "test", -list(sizes).index(s)))
    most = max(int(sims["run"].max()) for sims in offered.values()) + 1
    for runs in range(1, most + 1):
        chosen = _take(offered, ranked, sizes, runs)
        if not _missing(chosen, sizes):
            return chosen
    split = _missing(chosen, sizes)
    raise ConfigError(
        f"simulate.sims: {split} needs {sizes[split]} sims of {' and '.join(disk_splits[split])}, "
        f"but {len(chosen[split])} are left of the {len(offered[split])} on disk, as no cosmology "
        "may serve two splits; lower the numbers of simulate.sims or add sims."
    )


def _take(
    offered: Mapping[str, pd.DataFrame], ranked: Sequence[str], sizes: Mapping[str, int], runs: int
) -> dict[str, pd.DataFrame]:
    """Choose sims with at most `runs` of each cosmology, the first of all cosmologies first."""
    used: set[float] = set()
    chosen = {}
    for split in ranked:
        sims = offered[split]
        free = sims[~sims["cosmology"].isin(used) & (sims["run"] < runs)].head(sizes[split])
        used |= set(free["cosmology"])
        chosen[split] = free.sort_values(["run", "cosmology"], ignore_index=True)
    return chosen


def _missing(chosen: Mapping[str, pd.DataFrame], sizes: Mapping[str, int]) -> str:
    """Return the first split that has not enough sims, or nothing."""
    return next((split for split, sims in chosen.items() if len(sims) < sizes[split]), "")


def join_tables(tables: Sequence[pd.DataFrame], tiers: Sequence[str]) -> pd.DataFrame:
    """Return the sims that all these tiers on disk have, joined by `pair` where they are several.

    Raises
    ------
    ConfigError
        If tables have no common pairs, or a pair's members differ in a parameter.
    """
    named = [
        t.rename(columns={"file": f"file_{tier}"}) for t, tier in zip(tables, tiers, strict=True)
    ]
    top = named[-1]
    for tier, low in zip(tiers[:-1], named[:-1], strict=True):
        top = top.merge(low, on="pair", suffixes=("", "_low"))
        for name in [c for c in top if f"{c}_low" in top]:
            differ = ~np.isclose(top[name], top[f"{name}_low"], rtol=1e-6, atol=0)
            if differ.any():
                raise ConfigError(
                    f"simulate.tiers: pair {top['pair'][differ].iloc[0]} has different {name} in "
                    f"the tables of {tier} and {tiers[-1]}; mend them."
                )
    return top
