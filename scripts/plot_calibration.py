"""Show coverage, TARP and SBC ranks of all methods."""

from collections.abc import Sequence
from typing import Any

from mflens.files.io import read_json
from mflens.prior import Prior
from mflens.report.calibration import plot_calibration
from mflens.report.style import save_figure
from mflens.run.job import start_job


def main(scores: Sequence[str], pdf: str, png: str, parameters: dict[str, Any]) -> None:
    """Draw one row per file of scores."""
    prior = Prior(parameters)
    latex = dict(zip(prior.names, prior.latex, strict=True))
    save_figure(plot_calibration([read_json(path) for path in scores], latex=latex), pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
