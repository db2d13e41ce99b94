"""Score all methods of one run of an experiment of a published task."""

from typing import Any

from mflens.errors import DataError
from mflens.files.io import load_model, read_hdf5, write_hdf5
from mflens.infer.tasks import Estimate
from mflens.prior import Prior
from mflens.run.job import start_job
from mflens.tasks.scores import score_estimate
from mflens.tasks.simulators.toys import make_toy


def main(
    tiers: str,
    models: str,
    scores: str,
    options: dict[str, Any],
    estimator: str,
    evaluate: dict[str, int],
    seed: int,
    task: str,
    experiment: str,
    run: str,
    reference: str | None = None,
) -> None:
    """Write one array of scores for every method and kind of score."""
    toy = make_toy(task, options)
    top = f"test/{toy.ladder[-1]}"
    arrays, _ = read_hdf5(tiers, ["test/theta", top])
    test = {"theta": arrays["test/theta"], "x": arrays[top]}
    exact = read_hdf5(reference)[0] if reference else {}
    found = {}
    state, arguments = load_model(models)
    for method in arguments:
        estimate = Estimate.from_state(state[method], arguments[method])
        try:
            scored = score_estimate(
                estimate,
                test,
                exact,
                Prior(toy.parameters),
                estimator=estimator,
                n_samples=evaluate["n_samples"],
                seed=seed,
            )
        except DataError as error:
            raise DataError(
                f"{task}, {experiment}, {run}: {error} for method {method}; lower its learning "
                "rate or look for sims without finite values."
            ) from error
        found |= {f"{method}/{name}": values for name, values in scored.items()}
    write_hdf5(scores, found, {"task": task, "experiment": experiment, "run": run})


if __name__ == "__main__":
    start_job(snakemake)  # noqa: F821
    main(**snakemake.input, **snakemake.output, **snakemake.params, **snakemake.wildcards)  # noqa: F821
