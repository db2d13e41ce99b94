"""Show correlation and power ratio of matched and unmatched sims."""

from mflens.files.io import read_hdf5
from mflens.report.pairs import plot_pairing
from mflens.report.style import save_figure
from mflens.run.job import start_job


def main(comparison: str, pdf: str, png: str) -> None:
    """Draw what tabulate_pairing measured."""
    arrays, attributes = read_hdf5(comparison)
    figure = plot_pairing(
        arrays["r_matched"],
        arrays["r_unmatched"],
        arrays["power_ratio"],
        r_partly=arrays["r_partly"],
        fractions=arrays["fractions"],
        edges=arrays["edges"],
        ladder=list(attributes["ladder"]),
    )
    save_figure(figure, pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
