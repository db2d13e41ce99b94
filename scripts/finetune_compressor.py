"""Fit one method with a given number of high-fidelity sims."""

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import torch

from mflens.errors import ConfigError, DataError
from mflens.files.io import load_model, read_chunks, read_hdf5, save_model, write_table
from mflens.infer.checkpoint import Checkpoint
from mflens.infer.folds import count_together
from mflens.infer.losses import Pairs
from mflens.infer.methods import METHODS, Data, Settings, fit_method
from mflens.infer.posterior import Posterior
from mflens.infer.training import Training, resolve_device
from mflens.prior import Prior
from mflens.run.job import start_job

HISTORY_COLUMNS = ["member", "epoch", "train", "validation"]


def group_files(paths: list[str]) -> dict[tuple[str, str], list[str]]:
    """Group chunk files by the split and tier that they say they hold."""
    groups = defaultdict(list)
    for path in paths:
        attributes = read_hdf5(path, [])[1]
        groups[attributes["split"], attributes["tier"]].append(path)
    return groups


def read_pairs(
    files: dict[tuple[str, str], list[str]],
    observable: str,
    upper: str,
    lower: str,
    prior: Prior,
    limit: int | None,
) -> tuple[Pairs, int]:
    """Read the first `limit` pairs of two tiers (None: all), joined by sim.

    And count how many neighbouring ones are of one cosmology.
    """
    names = ["theta", "cosmology", observable]
    low, high = (read_chunks(files[f"pairs_{upper}", tier], names) for tier in (lower, upper))
    if not np.array_equal(low["sim"], high["sim"]):
        raise DataError(
            f"the pairs of {lower} and {upper} hold different sims; delete the folders "
            f"pairs_{upper} of both tiers and run snakemake again."
        )
    if limit is not None and limit > len(high["sim"]):
        raise ConfigError(
            f"infer.n_high asks for {limit} high-fidelity sims but only {len(high['sim'])} pairs "
            "are simulated; raise simulate.sims.pairs."
        )
    kept = slice(limit)
    pairs = Pairs(
        upper,
        torch.as_tensor(low[observable][kept]),
        torch.as_tensor(high[observable][kept]),
        torch.as_tensor(prior.to_normal(prior.inside(high["theta"][kept]))),
    )
    return pairs, count_together(high["cosmology"][kept])


def main(
    pretrained: str,
    maps: list[str],
    spectra: list[str],
    model: str,
    history: str,
    parameters: dict[str, Any],
    ladder: list[str],
    training: dict[str, Any],
    correction: dict[str, Any],
    n_folds: int,
    device: str,
    checkpoint_minutes: float,
    seed: int,
    method: str,
    n_high: str,
) -> None:
    """Write the fitted posterior and its training history."""
    prior = Prior(parameters)
    observable = METHODS[method].observable
    files = group_files({"maps": maps, "spectra": spectra}[observable])
    cheap = [
        read_chunks(files[split, ladder[0]], ["theta", observable])
        for split in ("bulk", "validation")
    ]
    levels = [
        read_pairs(
            *(files, observable, upper, lower, prior),
            limit=int(n_high) if upper == ladder[-1] else None,
        )
        for lower, upper in zip(ladder[:-1], ladder[1:], strict=True)
    ]
    x, x_val = (torch.as_tensor(split[observable]) for split in cheap)
    y, y_val = (torch.as_tensor(prior.to_normal(prior.inside(s["theta"]))) for s in cheap)
    data = Data(ladder, x, y, x_val, y_val, [pairs for pairs, _ in levels], levels[-1][1])
    start = Posterior.from_state(*load_model(pretrained)).members[0]
    sims = [x, y, x_val, y_val, *(t for p in data.pairs for t in (p.low, p.high, p.y))]
    chosen = (method, n_high, ladder, training, correction, n_folds, device, seed)
    inputs = (*sims, *start.state_dict().values(), chosen)
    checkpoint = Checkpoint(model, checkpoint_minutes, inputs)
    settings = Settings(
        Training(**training, checkpoint=checkpoint),
        Training(**{**training, **correction}, checkpoint=checkpoint),
        n_folds,
        resolve_device(device),
        seed,
    )
    posterior, rows = fit_method(method, data, start, settings)
    save_model(model, *posterior.to_state())
    write_table(history, pd.DataFrame(rows, columns=HISTORY_COLUMNS))
    checkpoint.remove()


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
