"""Put the scores and the measured cost of all methods into one table."""

from typing import Any

import pandas as pd

from mflens.evaluate.cost import Simulations, method_cost
from mflens.evaluate.posterior import METHOD_COLUMNS
from mflens.files.benchmarks import read_benchmarks
from mflens.files.io import read_json, write_markdown, write_table
from mflens.infer.methods import METHODS
from mflens.run.job import start_job


def main(
    scores: list[str],
    finetune_benchmarks: list[str],
    pretrain_benchmark: str,
    simulation_benchmarks: list[str],
    methods: str,
    markdown: str,
    simulations: dict[str, Any],
    threads: dict[str, int],
) -> None:
    """Write one row per method and number of high-fidelity sims."""
    jobs = read_benchmarks(simulation_benchmarks, threads)
    pretraining = read_benchmarks([pretrain_benchmark], threads)["core_s"].sum()
    training = read_benchmarks(finetune_benchmarks, threads)["core_s"]
    run, rows = Simulations(**simulations), []
    # scores and benchmarks come in the same order
    for path, core_s in zip(scores, training, strict=True):
        score = read_json(path)
        method = METHODS[score["method"]]
        cost = method_cost(
            jobs,
            run,
            learns_from=method.learns_from,
            observable=method.observable,
            n_high=score["n_high"],
            training_core_s=core_s + method.pretrained * pretraining,
        )
        rows.append({**score, "cost_core_s": cost})
    table = pd.DataFrame(rows)[METHOD_COLUMNS]
    write_table(methods, table)
    write_markdown(markdown, table)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
