"""Ablations of the published tasks: fit and score methods at every setting of a study."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mflens.errors import DataError, TrainingError
from mflens.infer.losses import Pairs
from mflens.infer.scaler import Scaler
from mflens.infer.tasks import METHODS, Bench, TaskData
from mflens.prior import Prior
from mflens.tasks.data import draw_splits, engine_settings, training_data
from mflens.tasks.design import apply_setting, expand_study
from mflens.tasks.metrics import METRICS
from mflens.tasks.plan import Settings, split_sizes
from mflens.tasks.reference import draw_reference
from mflens.tasks.scores import Scores, score_estimate
from mflens.tasks.simulators.toys import Toy, make_toy
from mflens.tasks.tables import metric_values

SCORE_COLUMNS = ["ablation", "setting", "method", "metric", "repetition", "value"]
ABLATION_COLUMNS = ["ablation", "setting", "method", "metric", "mean", "error", "repetitions"]
LOSS = {"NPE": "nlpd", "NLE": "nll"}
WORSE, DISTANCE, PAIRS = "worse_than_prior", "pair_distance", "pairs"

Arrays = dict[str, np.ndarray]


def run_study(task: str, settings: Settings, *, ablation: str, seed: int) -> Iterator[dict]:
    """Yield the scores of all repetitions at every setting of a study, rows of `SCORE_COLUMNS`.

    All settings of a study have the same sims, as far as it does not change these.

    Parameters
    ----------
    task
        Its name.
    settings
        Those of `DesignPlan.study`.
    ablation
        Name of the study.
    seed
        Of everything random.
    """
    for setting, values in expand_study(settings["vary"]).items():
        logging.info("%s: %s", ablation, setting)
        found = score_setting(task, apply_setting(settings, values), seed=seed)
        for (method, metric), numbers in found.items():
            for repetition, value in enumerate(numbers):
                row = (ablation, setting, method, metric, repetition, float(value))
                yield dict(zip(SCORE_COLUMNS, row, strict=True))


def score_setting(task: str, settings: Settings, *, seed: int) -> dict[tuple[str, str], np.ndarray]:
    """Fit and score the methods of a study at one setting.

    Returns
    -------
    dict
        Method and metric to values, shape (repetition,): means over test sims, and
        `worse_than_prior`, 1 where the loss of the top tier is worse than that of `prior` or the
        method diverged. Of the pairs themselves `pair_distance`, see `pair_distance`.
    """
    toy = make_toy(task, settings["options"])
    data, test, exact = draw_setting(toy, settings, seed=seed)
    prior, found = Prior(toy.parameters), {(PAIRS, DISTANCE): pair_distance(data)}

    def score(method: str, bench: Bench, test: Arrays, exact: Arrays) -> Scores:
        return score_estimate(
            METHODS[method](bench), test, exact, prior, estimator=settings["estimator"],
            n_samples=settings["evaluate"]["n_samples"], seed=seed,
        )  # fmt: skip

    bench, loss = Bench(data, engine_settings(settings, seed)), LOSS[settings["estimator"]]
    prior_loss = score("prior", bench, test, {})[loss].mean(1)
    for method in settings["methods"]:
        try:
            scores = score(method, bench, test, exact)
        except (TrainingError, DataError) as error:
            logging.info("%s: %s", method, error)
            scores = score_one_by_one(score, method, bench, data, test, exact)
        found[method, WORSE] = (scores[loss].mean(1) > prior_loss).astype(float)
        for metric in settings["metrics"]:
            for name, values in metric_values(scores[METRICS[metric].array], metric).items():
                found[method, name] = values.mean(1)
    return found


def score_one_by_one(
    score: Any, method: str, bench: Bench, data: TaskData, test: Arrays, exact: Arrays
) -> Scores:
    """Score every repetition by itself; all scores of those that diverge are infinite."""
    parts: list[Scores] = []
    for r in range(bench.n_repetitions):
        alone = Bench(
            one_repetition(data, r), replace(bench.settings, seed=bench.settings.seed + r)
        )
        cut = (
            {key: a[r : r + 1] if a.ndim > 1 else a for key, a in given.items()}
            for given in (test, exact)
        )
        try:
            parts.append(score(method, alone, *cut))
        except (TrainingError, DataError):
            parts.append({})
    known = next((part for part in parts if part), {})
    names = known or {metric.array: np.empty((1, 1)) for metric in METRICS.values()}
    lost = {name: np.full((1, *values.shape[1:]), np.inf) for name, values in names.items()}
    return {name: np.concatenate([(part or lost)[name] for part in parts]) for name in names}


def one_repetition(data: TaskData, r: int) -> TaskData:
    """Return the data of one repetition alone."""
    one = slice(r, r + 1)
    pairs = [Pairs(p.tier, p.low[one], p.high[one], p.y[one]) for p in data.pairs]
    return replace(data, bulk=(data.bulk[0][one], data.bulk[1][one]), pairs=pairs)


def draw_setting(toy: Toy, settings: Settings, *, seed: int) -> tuple[TaskData, Arrays, Arrays]:
    """Draw what methods learn from, the test sims, and the exact answers to some of these."""
    levels, estimator = settings["levels"], settings["estimator"]
    sizes = split_sizes([levels], settings["test"], toy.ladder)
    splits = draw_splits(toy, sizes, settings["repetitions"], shared=settings["shared"], seed=seed)
    prior = Prior(toy.parameters)
    data = training_data(splits, toy.ladder, levels, estimator=estimator, prior=prior)
    test = {"theta": splits["test"]["theta"], "x": splits["test"][toy.ladder[-1]]}
    n, evaluate = settings["evaluate"]["n_reference"], settings["evaluate"]
    if not any(METRICS[metric].reference for metric in settings["metrics"]):
        return data, test, {}
    exact = draw_reference(
        toy, test["theta"][:, :n], test["x"][:, :n], settings["metrics"], estimator=estimator,
        n_samples=evaluate["n_reference_samples"], seed=seed,
    )  # fmt: skip
    return data, test, exact


def pair_distance(data: TaskData) -> np.ndarray:
    """Return how far the members of the top pairs are apart, shape (repetition,).

    The root mean square of the difference of their standardised observables over the standard
    deviation of the upper ones: 0 for equal fidelities, about sqrt(2) for independent ones.
    """
    scale, pairs = Scaler.fit(data.bulk[0], 0).transform, data.pairs[-1]
    low, high = (scale(x).double() for x in (pairs.low, pairs.high))
    squares = (high - low).square().mean((1, 2)) / high.var(1).mean(-1)
    return squares.sqrt().numpy()


def tabulate_ablations(scores: pd.DataFrame, compared: str) -> pd.DataFrame:
    """Return means and standard errors over repetitions, and paired differences.

    Parameters
    ----------
    scores
        Columns of `SCORE_COLUMNS`.
    compared
        A method; a metric named `<metric>_minus_<other>` is the difference, repetition by
        repetition, of its metric and that of another method at the same setting.

    Returns
    -------
    DataFrame
        Columns of `ABLATION_COLUMNS`. A mean is infinite if a repetition diverged.
    """
    mine = scores[scores["method"] == compared]
    others = scores[~scores["method"].isin([compared, PAIRS])]
    both = mine.merge(others, on=["ablation", "setting", "metric", "repetition"])
    both = both[both["metric"] != WORSE]
    gains = pd.DataFrame(
        {
            "ablation": both["ablation"],
            "setting": both["setting"],
            "method": compared,
            "metric": both["metric"] + "_minus_" + both["method_y"],
            "repetition": both["repetition"],
            "value": both["value_x"] - both["value_y"],
        }
    )
    rows = []
    groups = pd.concat([scores, gains]).groupby(ABLATION_COLUMNS[:4], sort=False)
    for key, group in groups:
        values = group["value"].to_numpy()
        finite = np.isfinite(values).all()
        error = float(values.std(ddof=1) / len(values) ** 0.5) if finite else float("nan")
        rows.append([*key, float(values.mean()), error, len(values)])
    return pd.DataFrame(rows, columns=ABLATION_COLUMNS)


def lay_out_ablations(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for people: a line for each setting and method, a column a metric."""
    key = ABLATION_COLUMNS[:3]
    distances = table[table["method"] == PAIRS].set_index(key[:2])["mean"]
    lines = []
    for names, rows in table[table["method"] != PAIRS].groupby(key, sort=False):
        line = dict(zip(key, names, strict=True)) | {DISTANCE: f"{distances.loc[names[:2]]:.3f}"}
        cells = {row.metric: f"{row.mean:.3f} ± {row.error:.3f}" for row in rows.itertuples()}
        lines.append(line | cells)
    return pd.DataFrame(lines).fillna("–")
