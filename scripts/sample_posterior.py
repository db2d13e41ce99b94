"""Sample the posteriors of all methods at every test sim."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mflens.files.io import atomic, load_model, read_chunks, write_hdf5
from mflens.infer.posterior import Posterior, sample_theta
from mflens.prior import Prior
from mflens.run.job import start_job


def write_chain(root: str, theta: np.ndarray, log_prob: np.ndarray, prior: Prior) -> None:
    """Write samples of one sim, shape (n_samples, d), as a GetDist chain `root`.txt."""
    columns = np.column_stack([np.ones(len(theta)), -log_prob, theta])
    bounds = np.where(np.isfinite(prior.bounds), prior.bounds.astype(str), "N")
    texts = {
        ".paramnames": [
            f"{name} {latex}" for name, latex in zip(prior.names, prior.latex, strict=True)
        ],
        ".ranges": [
            f"{name} {low} {high}" for name, (low, high) in zip(prior.names, bounds, strict=True)
        ],
        ".txt": [" ".join(f"{value:.8e}" for value in row) for row in columns],
    }
    for suffix, lines in texts.items():
        with atomic(f"{root}{suffix}") as temporary:
            temporary.write_text("\n".join(lines) + "\n")


def main(
    models: list[str],
    test_maps: list[str],
    test_spectra: list[str],
    samples: list[str],
    chains: list[str],
    runs: list[tuple[str, int]],
    parameters: dict[str, Any],
    n_samples: int,
    n_chains: int,
    seed: int,
) -> None:
    """Write samples and chains of every run, a method with a number of expensive sims."""
    prior = Prior(parameters)
    test = {
        "maps": read_chunks(test_maps, ["theta", "maps"]),
        "spectra": read_chunks(test_spectra, ["theta", "spectra"]),
    }
    for run, model, target, folder in zip(runs, models, samples, chains, strict=True):
        posterior = Posterior.from_state(*load_model(model))
        sims = test[posterior.observable]
        observed = torch.as_tensor(sims[posterior.observable])
        drawn = sample_theta(
            posterior, observed, sims["theta"], prior, n_samples=n_samples, seed=seed
        )
        arrays = {"sim": sims["sim"], "theta": sims["theta"], **drawn}
        identity = {"method": run[0], "n_high": run[1], "parameters": prior.names}
        write_hdf5(target, arrays, identity)
        Path(folder).mkdir(parents=True, exist_ok=True)
        for i, sim in enumerate(sims["sim"][:n_chains]):
            values = drawn["samples"][i], drawn["log_prob_samples"][i]
            write_chain(f"{folder}/{sim}", *values, prior)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
