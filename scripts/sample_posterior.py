"""Sample a method's posterior at every test sim."""

from pathlib import Path

import numpy as np
import torch

from mflens.infer.posterior import Posterior, sample_theta
from mflens.io import atomic, load_model, read_chunks, write_hdf5
from mflens.job import start_job
from mflens.prior import Prior


def write_chain(root, theta, log_prob, prior):
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
    model,
    test_maps,
    test_spectra,
    samples,
    chains,
    method,
    n_high,
    parameters,
    n_samples,
    n_chains,
    seed,
):
    prior = Prior(parameters)
    posterior = Posterior.from_state(*load_model(model))
    paths = {"maps": test_maps, "spectra": test_spectra}[posterior.observable]
    test = read_chunks(paths, ["theta", posterior.observable])
    drawn = sample_theta(
        posterior,
        torch.as_tensor(test[posterior.observable]),
        test["theta"],
        prior,
        n_samples=n_samples,
        seed=seed,
    )
    write_hdf5(
        samples,
        {"sim": test["sim"], "theta": test["theta"], **drawn},
        {"method": method, "n_high": int(n_high), "parameters": prior.names},
    )
    Path(chains).mkdir(parents=True, exist_ok=True)
    for i in range(min(n_chains, len(test["sim"]))):
        write_chain(
            Path(chains) / f"{test['sim'][i]}",
            drawn["samples"][i],
            drawn["log_prob_samples"][i],
            prior,
        )


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(
        **snakemake.input,  # noqa: F821
        **snakemake.output,  # noqa: F821
        **snakemake.params,  # noqa: F821
        **snakemake.wildcards,  # noqa: F821
    )
