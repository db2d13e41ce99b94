"""The design: which parameters and which seed every sim has."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import qmc

from mflens.prior import Prior

SEED_BITS = 63
SIMS_PER_SPLIT = 10_000_000


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
        sobol = qmc.Sobol(len(prior.names), rng=rng)
        u = sobol.random_base2(int(np.ceil(np.log2(max(n_cosmologies, 2)))))[:n_cosmologies]
        theta = np.repeat(prior.from_unit(u), realisations, axis=0)[:n_sims]
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


def _draw_nuisances(
    nuisances: Prior, n_before: int, n_sims: int, seed: int, split: int
) -> np.ndarray:
    """Draw nuisances from the dimensions of the Sobol sequence behind the cosmology's.

    Dimensions are scrambled one by one, so both together are one sequence, and the cosmologies are
    the same with and without nuisances.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(split, 0, 1)))
    sobol = qmc.Sobol(n_before + len(nuisances.names), rng=rng)
    u = sobol.random_base2(int(np.ceil(np.log2(max(n_sims, 2)))))[:n_sims]
    return nuisances.from_unit(u[:, n_before:])


def _seed(seed: int, split: int, index: int) -> int:
    state = np.random.SeedSequence(seed, spawn_key=(split, index)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(64 - SEED_BITS))
