"""What the captions of a report say of the run that made a product: numbers of its config."""

from collections.abc import Mapping
from typing import Any

from mflens.run.plan import runs

# the rules whose products have captions with numbers
DESCRIBED = (
    "plot_training", "plot_posteriors", "plot_calibration", "plot_methods", "tabulate_methods",
)  # fmt: skip


def describe_rule(rule: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record of a rule's products says of the run, for its captions."""
    return {"run": describe_run(config)} if rule in DESCRIBED else {}


def describe_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what captions say of a run.

    Parameters
    ----------
    config
        The whole config.

    Returns
    -------
    dict
        `n_high` holds the numbers of high-fidelity sims that any method learns from.
    """
    simulate, infer = config["simulate"], config["infer"]
    survey = simulate["survey"]
    return {
        "ladder": list(config["ladder"]),
        "sims": dict(simulate["sims"]),
        "nside": simulate["nside"],
        "n_bins": len(survey["n_gal_arcmin2"]),
        "mask": survey["mask"],
        "methods": list(infer["methods"]),
        "n_high": sorted({n for _, n in runs(infer["methods"], infer["n_high"])} - {0}),
        "n_folds": infer["n_folds"],
        "triangle_sims": config["report"]["triangle_sims"],
    }
