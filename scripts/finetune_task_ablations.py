"""Draw sims, fit methods and score them at all settings of one ablation of a published task."""

from typing import Any

import pandas as pd

from mflens.files.io import write_table
from mflens.run.job import start_job
from mflens.tasks.ablations import SCORE_COLUMNS, run_study


def main(scores: str, settings: dict[str, Any], seed: int, task: str, ablation: str) -> None:
    """Write one row for every setting, method, metric and repetition."""
    rows = run_study(task, settings, ablation=ablation, seed=seed)
    write_table(scores, pd.DataFrame(rows, columns=SCORE_COLUMNS))


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
