"""Show a pair on the sky."""

from mflens.errors import DataError
from mflens.files.io import read_hdf5
from mflens.prior import symbol
from mflens.report.sky import plot_sky
from mflens.report.style import save_figure
from mflens.run.job import start_job


def main(low: str, high: str, pdf: str, png: str) -> None:
    """Draw the first pair that keeps its convergence."""
    names = ["convergence", "convergence_sim", "theta", "pixel"]
    (cheap, cheap_attributes), (costly, attributes) = (read_hdf5(p, names) for p in (low, high))
    if len(costly["convergence"]) == 0 or len(cheap["convergence"]) == 0:
        raise DataError(f"{high} keeps no convergence; raise simulate.n_convergence.")
    sim = int(costly["convergence_sim"][0])
    if cheap["convergence_sim"][0] != sim:
        raise DataError(f"{low} and {high} hold different sims; delete both and run again.")
    parameters = ", ".join(
        f"${symbol(name)} = {value:.3f}$"
        for name, value in zip(attributes["parameters"], costly["theta"][0], strict=True)
    )
    figure = plot_sky(
        cheap["convergence"][0],
        costly["convergence"][0],
        costly["pixel"],
        tiers=[cheap_attributes["tier"], attributes["tier"]],
        sim=sim,
        parameters=parameters,
    )
    save_figure(figure, pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params)  # noqa: F821
