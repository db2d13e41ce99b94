"""Tables of the published tasks: every score over repetitions and test sims, and who is better."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mflens.evaluate.distances import paired_comparison
from mflens.tasks.metrics import METRICS, TABLE_LEVELS

METHOD_COLUMNS = [
    "experiment", "estimator", "method", "levels", "n_low", "n_high", "metric", "mean", "error",
    "median", "q95", "repetitions",
]  # fmt: skip
COMPARISON_COLUMNS = [
    "experiment", "estimator", "levels", "n_low", "n_high", "metric", "method", "other",
    "difference", "low", "high", "significant", "verdict", "repetitions",
]  # fmt: skip
COVERAGES = [f"coverage_{level}" for level in TABLE_LEVELS]

Identity = Mapping[str, Any]
Scores = Mapping[str, Mapping[str, np.ndarray]]


def write_levels(levels: Sequence[int]) -> str:
    """Write numbers of sims as n_0/n_1/..., cheapest tier first."""
    return "/".join(map(str, levels))


def identify_run(experiment: str, estimator: str, levels: Sequence[int]) -> dict[str, Any]:
    """Return the columns that name a run; `n_low` and `n_high` are the ends of its levels."""
    return {
        "experiment": experiment,
        "estimator": estimator,
        "levels": write_levels(levels),
        "n_low": levels[0],
        "n_high": levels[-1],
    }


def tabulate_scores(run: Identity, scores: Scores, metrics: Sequence[str]) -> Iterator[dict]:
    """Yield one row for every method and metric of a run.

    Parameters
    ----------
    run
        The columns that name it.
    scores
        Method to arrays of scores by name, shape (repetition, test sim) each.
    metrics
        Names of metrics; `coverage` gives a row for each of `TABLE_LEVELS`.

    Yields
    ------
    dict
        A row of `METHOD_COLUMNS`: `error` is the standard error of the mean over repetitions,
        whose training sets are independent; `median` and `q95` are over all test sims of all
        repetitions, or over repetitions where the metric is one number for each (coverage, RMSE).
    """
    for method, arrays in scores.items():
        for metric in metrics:
            for name, values in metric_values(arrays[METRICS[metric].array], metric).items():
                yield {**run, "method": method, "metric": name, **summarise(values)}


def metric_values(array: np.ndarray, metric: str) -> dict[str, np.ndarray]:
    """Return the values of a metric by row name, shape (repetition, test sim or 1).

    Parameters
    ----------
    array
        Scores, shape (repetition, test sim): those that `metrics.METRICS` names for the metric.
    metric
        Its name.
    """
    if metric == "coverage":
        return {
            f"coverage_{level}": (array <= level / 100).mean(axis=1, keepdims=True)
            for level in TABLE_LEVELS
        }
    if metric == "rmse":
        return {"rmse": np.sqrt(array.mean(axis=1, keepdims=True))}
    return {metric: array}


def summarise(values: np.ndarray) -> dict[str, float]:
    """Return mean, error, median and 95 % quantile of values, shape (repetition, n)."""
    means = values.mean(axis=1)
    return {
        "mean": float(means.mean()),
        "error": float(means.std(ddof=1) / len(means) ** 0.5),
        "median": float(np.median(values)),
        "q95": float(np.quantile(values, 0.95)),
        "repetitions": len(means),
    }


def compare_methods(
    run: Identity, scores: Scores, metrics: Sequence[str], *, method: str, seed: int
) -> Iterator[dict]:
    """Yield the paired differences of one method and every other one, for every metric of a run.

    Parameters
    ----------
    run
        The columns that name it.
    scores
        Method to arrays of scores by name, shape (repetition, test sim) each; all methods have the
        same test sims and learned from the same sims.
    metrics
        Names of metrics. Coverage has no better or worse by the test sim and is left out.
    method
        Which method to compare with all others.
    seed
        Of the bootstrap.

    Yields
    ------
    dict
        A row of `COMPARISON_COLUMNS`: `difference` is the mean of method minus other, negative
        where the method is better; `low` to `high` its 95 % interval.
    """
    if method not in scores:
        return
    for other in scores:
        for metric in metrics:
            if other == method or metric == "coverage":
                continue
            values = (
                metric_values(scores[name][METRICS[metric].array], metric)[metric]
                for name in (method, other)
            )
            found = paired_comparison(*values, rng=np.random.default_rng(seed))
            verdict = "better" if found.difference < 0 else "worse"
            yield {
                **run,
                "metric": metric,
                "method": method,
                "other": other,
                **found._asdict(),
                "verdict": verdict if found.significant else "equal",
                "repetitions": len(scores[other][METRICS[metric].array]),
            }


def lay_out_methods(methods: pd.DataFrame) -> pd.DataFrame:
    """Return the table of methods for people: a line for each run and method, a column a metric.

    Parameters
    ----------
    methods
        Table of `METHOD_COLUMNS`.

    Returns
    -------
    DataFrame
        Text: mean ± error; the four coverages stand in one column, in per cent.
    """
    key = ["experiment", "estimator", "levels", "method"]
    lines = []
    for names, rows in methods.groupby(key, sort=False):
        line = dict(zip(key, names, strict=True))
        by_metric = rows.set_index("metric")
        for metric in by_metric.index.difference(COVERAGES, sort=False):
            mean, error = by_metric.loc[metric, ["mean", "error"]]
            line[metric] = f"{mean:.3f} ± {error:.3f}"
        if COVERAGES[0] in by_metric.index:
            shares = 100 * by_metric.loc[COVERAGES, "mean"]
            title = f"coverage at {' / '.join(map(str, TABLE_LEVELS))} %"
            line[title] = " / ".join(f"{share:.0f}" for share in shares)
        lines.append(line)
    return pd.DataFrame(lines).fillna("–")


def lay_out_comparison(comparison: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison for people: a line for each run and metric, a column a method.

    Parameters
    ----------
    comparison
        Table of `COMPARISON_COLUMNS`.

    Returns
    -------
    DataFrame
        Text: the difference with its 95 % interval and the verdict.
    """
    key = ["experiment", "estimator", "levels", "metric"]
    lines = []
    for names, rows in comparison.groupby(key, sort=False):
        cells = {
            f"{row.method} − {row.other}": (
                f"{row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f}) {row.verdict}"
            )
            for row in rows.itertuples()
        }
        lines.append(dict(zip(key, names, strict=True)) | cells)
    return pd.DataFrame(lines).fillna("–")
