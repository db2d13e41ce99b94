"""Put the scores of all methods on a published task into tables."""

from typing import Any

import pandas as pd

from mflens.files.io import read_groups, write_markdown, write_table
from mflens.run.job import start_job
from mflens.tasks.plan import experiment_settings
from mflens.tasks.tables import (
    COMPARISON_COLUMNS,
    METHOD_COLUMNS,
    compare_methods,
    identify_run,
    lay_out_comparison,
    lay_out_methods,
    tabulate_scores,
)

COMPARED = "paired"


def main(
    scores: list[str],
    methods: str,
    markdown: str,
    comparison: str,
    comparison_markdown: str,
    settings: dict[str, Any],
    seed: int,
    task: str,
) -> None:
    """Write a row for every run, method and metric, and one for every paired difference."""
    rows, differences = [], []
    for path in scores:
        stored, attributes = read_groups(path)
        name = str(attributes["experiment"])
        experiment = experiment_settings(settings, name)
        metrics, chosen = experiment["metrics"], experiment["runs"][attributes["run"]]
        run = identify_run(name, experiment["estimator"], chosen["levels"])
        by_method = {method: stored[method] for method in chosen["methods"]}
        rows += tabulate_scores(run, by_method, metrics)
        differences += compare_methods(run, by_method, metrics, method=COMPARED, seed=seed)
    table = pd.DataFrame(rows, columns=METHOD_COLUMNS)
    compared = pd.DataFrame(differences, columns=COMPARISON_COLUMNS)
    write_table(methods, table)
    write_markdown(markdown, lay_out_methods(table))
    write_table(comparison, compared)
    write_markdown(comparison_markdown, lay_out_comparison(compared))


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
