"""Show NLPD of all methods against the number of expensive sims and against cost."""

from collections.abc import Sequence

import pandas as pd

from mflens.files.io import read_json, read_table
from mflens.report.methods import plot_methods
from mflens.report.style import save_figure
from mflens.run.job import start_job


def main(scores: Sequence[str], methods: str, pdf: str, png: str) -> None:
    """Draw the table of methods; the error of NLPD minus prior stands in the scores alone."""
    key = ["method", "n_high"]
    errors = pd.DataFrame(
        [
            {c: score[c] for c in [*key, "nlpd_minus_prior_error"]}
            for score in map(read_json, scores)
        ]
    )
    save_figure(plot_methods(read_table(methods).merge(errors, on=key)), pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
