"""Show what all methods learned of the first test sims of an experiment of a published task."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mflens.files.io import load_model, read_hdf5
from mflens.infer.tasks import Estimate
from mflens.prior import Prior
from mflens.report.style import save_figure
from mflens.run.job import start_job
from mflens.tasks.examples import (
    abscissae,
    exact_examples,
    inner_nodes,
    likelihood_examples,
    posterior_densities,
    posterior_examples,
)
from mflens.tasks.figures.densities import EXACT, Panel, frames, marginals, plot_task_densities
from mflens.tasks.simulators.toys import make_toy
from mflens.tasks.tables import write_levels

Rows = list[list[Panel]]


def read_estimates(path: str) -> dict[str, Estimate]:
    """Read what every method of a run learned."""
    state, arguments = load_model(path)
    return {name: Estimate.from_state(state[name], arguments[name]) for name in arguments}


def single_posteriors(
    models: Mapping[str, str], theta: np.ndarray, x: np.ndarray, prior: Prior
) -> Rows:
    """Return a row for every run, a column for every test sim: densities of the one parameter."""
    nodes = inner_nodes(prior)
    rows = []
    for levels, path in models.items():
        densities = {
            name: posterior_densities(estimate, x, prior, nodes)
            for name, estimate in read_estimates(path).items()
        }
        row = []
        for i, truth in enumerate(theta[0, :, 0].tolist()):
            curves = {name: (nodes, density[i]) for name, density in densities.items()}
            title = f"{levels}, test sim {i + 1}"
            row.append(Panel(curves, truth, (nodes[0], nodes[-1]), title, f"${prior.latex[0]}$"))
        rows.append(row)
    return rows


def joint_posteriors(
    models: Mapping[str, str],
    theta: np.ndarray,
    x: np.ndarray,
    exact: Mapping[str, np.ndarray],
    prior: Prior,
    sampling: Mapping[str, int],
) -> Rows:
    """Return a row for every test sim, a column for every parameter, of the last run."""
    levels, path = list(models.items())[-1]
    draws = {
        name: posterior_examples(estimate, x, prior, **sampling)
        for name, estimate in read_estimates(path).items()
    }
    if "theta" in exact:
        draws[EXACT] = exact["theta"][0]
    rows = []
    for i, truths in enumerate(theta[0].tolist()):
        mine = {name: drawn[i] for name, drawn in draws.items() if i < len(drawn)}
        curves = marginals(mine, prior.names, prior.bounds)
        title = f"{levels}, test sim {i + 1}"
        quantities = zip(curves, truths, frames(curves, prior.bounds), prior.latex, strict=True)
        rows.append(
            [Panel(c, t, frame, title, f"${symbol}$") for c, t, frame, symbol in quantities]
        )
    return rows


def likelihoods(
    models: Mapping[str, str],
    theta: np.ndarray,
    x: np.ndarray,
    exact: Mapping[str, np.ndarray],
    prior: Prior,
) -> Rows:
    """Return a row for every run and a column for every test sim."""
    values, exact_curves = exact_examples(exact, x)
    nodes = abscissae(values)[: theta.shape[1]]
    theta = theta[:, : len(nodes)]
    rows = []
    for levels, path in models.items():
        densities = {
            name: likelihood_examples(estimate, theta, nodes, prior)
            for name, estimate in read_estimates(path).items()
        }
        row = []
        for i, abscissa in enumerate(nodes):
            curves = {name: (abscissa, density[i]) for name, density in densities.items()}
            if i < len(exact_curves):
                curves[EXACT] = exact_curves[i]
            title = f"{levels}, test sim {i + 1}"
            row.append(Panel(curves, None, (abscissa[0], abscissa[-1]), title, "$x$"))
        rows.append(row)
    return rows


def main(
    tiers: str,
    models: list[str],
    pdf: str,
    png: str,
    options: dict[str, Any],
    estimator: str,
    runs: dict[str, Any],
    evaluate: dict[str, int],
    seed: int,
    task: str,
    experiment: str,
    reference: str | None = None,
) -> None:
    """Draw one panel per run and test sim, or per parameter and test sim."""
    toy = make_toy(task, options)
    prior, top = Prior(toy.parameters), f"test/{toy.ladder[-1]}"
    arrays, _ = read_hdf5(tiers, ["test/theta", top])
    theta, x = (arrays[name][:, : evaluate["n_examples"]] for name in ("test/theta", top))
    exact = read_hdf5(reference)[0] if reference else {}
    levels = [write_levels(run["levels"]) for run in runs.values()]
    by_levels = dict(zip(levels, models, strict=True))
    if estimator == "NLE":
        panels = likelihoods(by_levels, theta, x, exact, prior)
    elif len(prior.names) == 1:
        panels = single_posteriors(by_levels, theta, x, prior)
    else:
        sampling = {"n_samples": evaluate["n_reference_samples"], "seed": seed}
        panels = joint_posteriors(by_levels, theta, x, exact, prior, sampling)
    save_figure(plot_task_densities(panels, experiment=experiment), pdf, png)


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
