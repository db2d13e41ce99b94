"""Show posteriors of several test sims by all methods."""

from collections.abc import Sequence
from typing import Any

from mflens.files.io import read_hdf5
from mflens.prior import Prior
from mflens.report.posteriors import plot_posteriors
from mflens.report.style import save_figure
from mflens.run.job import start_job


def main(
    samples: Sequence[str], pdf: str, png: str, parameters: dict[str, Any], triangle_sims: int
) -> None:
    """Draw the first test sims; `samples` are files of one n_high, one per method."""
    draws, n_high = {}, 0
    for path in samples:
        arrays, attributes = read_hdf5(path, ["sim", "theta", "samples"])
        draws[str(attributes["method"])] = arrays["samples"][:triangle_sims]
        n_high = max(n_high, int(attributes["n_high"]))
    # in the order of the samples' columns
    prior = Prior({name: parameters[name] for name in attributes["parameters"]})
    figure = plot_posteriors(
        draws,
        arrays["theta"][:triangle_sims],
        sims=arrays["sim"][:triangle_sims].tolist(),
        names=prior.names,
        latex=prior.latex,
        bounds=prior.bounds,
        n_high=n_high,
    )
    save_figure(figure, pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
