"""Score the posteriors of all methods at the test sims."""

import numpy as np

from mflens.evaluate.posterior import score_posterior
from mflens.files.io import read_hdf5, write_json
from mflens.run.job import start_job


def main(samples: list[str], scores: list[str], seed: int) -> None:
    """Write one file of scores for every file of samples, in the same order."""
    for source, target in zip(samples, scores, strict=True):
        arrays, attributes = read_hdf5(source)
        result = score_posterior(
            arrays["theta"],
            arrays["samples"],
            arrays["log_prob_samples"],
            arrays["log_prob_truth"],
            arrays["log_prior_truth"],
            names=list(attributes["parameters"]),
            # the same random reference points for all methods
            rng=np.random.default_rng(seed),
        )
        identity = {"method": attributes["method"], "n_high": int(attributes["n_high"])}
        write_json(target, {**identity, "sim": arrays["sim"].tolist(), **result})


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
