"""Checks of the config's section `tasks`, beyond its schema."""

from collections.abc import Iterator, Mapping
from statistics import mode
from typing import Any

from mflens.tasks.design import ablation_settings
from mflens.tasks.metrics import METRICS
from mflens.tasks.plan import Settings, experiment_settings, is_single

# what there is to compare with, by task and estimator
EXACT = {
    ("g_and_k", "NLE"): {"forward_kl", "forward_kl_window"},
    ("g_and_k", "NPE"): {"c2st"},
    ("ornstein_uhlenbeck", "NPE"): {"c2st"},
    ("toggle_switch", "NLE"): {"mmd_squared", "c2st"},
}


def check_tasks(config: Mapping[str, Any]) -> Iterator[str]:
    """Check runs and metrics of every experiment of the published tasks."""
    for name, task in config["tasks"].items():
        lengths = {}
        for experiment in task["experiments"]:
            key = f"tasks.{name}.experiments.{experiment}"
            settings = experiment_settings(task, experiment)
            yield from _check_metrics(key, name, settings)
            yield from _check_sizes(key, settings)
            yield from _check_summaries(key, settings)
            yield from _check_repeats(f"{key}.runs", settings)
            for label, run in settings["runs"].items():
                yield from _check_run(f"{key}.runs.{label}", run)
                yield from _check_folds(f"{key}.runs.{label}", run, settings["n_folds"])
                lengths[f"{key}.runs.{label}"] = len(run["levels"])
        usual = mode(lengths.values())
        yield from _check_design(name, task, usual)
        for key, length in lengths.items():
            if length != usual:
                yield (
                    f"{key}.levels: {length} numbers of sims, but the other runs of the task have "
                    f"{usual}; give one for each tier."
                )


def _check_design(name: str, task: Mapping[str, Any], n_levels: int) -> Iterator[str]:
    """Check that allocation and ablations name what there is, and that their runs can be run."""
    for section in ("allocation", "ablations"):
        wanted = task.get(section, {}).get("experiment")
        if wanted is not None and wanted not in task["experiments"]:
            yield (
                f"tasks.{name}.{section}.experiment: there is no '{wanted}'; name one of "
                f"{', '.join(task['experiments'])}."
            )
            return
    if "allocation" in task:
        yield from _check_allocation(f"tasks.{name}.allocation", task)
    if "ablations" in task:
        key, settings = f"tasks.{name}.ablations", ablation_settings(task)
        if len(settings["levels"]) != n_levels:
            yield f"{key}.levels: {len(settings['levels'])} numbers of sims; give {n_levels}."
        yield from _check_metrics(key, name, settings)
        yield from _check_sizes(key, settings)
        yield from _check_summaries(key, settings)
        for study, entry in settings["studies"].items():
            yield from _check_run(f"{key}.studies.{study}", {**settings, **entry})
        yield from _check_folds(key, settings, settings["n_folds"])


def _check_allocation(key: str, task: Mapping[str, Any]) -> Iterator[str]:
    chosen, pilot = task["allocation"], task["allocation"]["pilot"]
    settings = experiment_settings(task, chosen["experiment"])
    runs = {label: run["levels"] for label, run in settings["runs"].items()}
    paired = [label for label, levels in runs.items() if not is_single(levels)]
    if chosen["run"] not in paired:
        yield (
            f"{key}.run: '{chosen['run']}' is no run with pairs of {chosen['experiment']}; name "
            f"one of {', '.join(paired)}."
        )
    for name in ("bulk", "pairs"):
        if pilot[name] < 2 * settings["n_folds"]:
            yield (
                f"{key}.pilot.{name}: {pilot[name]} are too few for n_folds = "
                f"{settings['n_folds']}; give at least {2 * settings['n_folds']}."
            )


def _check_repeats(key: str, settings: Settings) -> Iterator[str]:
    seen: dict[tuple[int, ...], str] = {}
    for label, run in settings["runs"].items():
        levels = tuple(run["levels"])
        if levels in seen:
            yield (
                f"{key}: {seen[levels]} and {label} have the same levels {list(levels)}, which "
                "name runs in tables and figures; change or remove one."
            )
        seen[levels] = label


def _check_run(key: str, run: Mapping[str, Any]) -> Iterator[str]:
    levels, methods = run["levels"], run["methods"]
    if is_single(levels):
        tier = next(i for i, n in enumerate(levels) if n)
        fits = "low_only" if tier == 0 else "middle_only"
        fits = "high_only" if tier == len(levels) - 1 else fits
        if methods != [fits]:
            yield (
                f"{key}.methods: {methods} cannot all learn from sims of one tier alone, as levels "
                f"{levels} are; write methods: [{fits}], or give every level sims."
            )
    elif not all(levels):
        yield (
            f"{key}.levels: {levels} has a level without sims between others; give every level "
            "sims, or one level alone."
        )
    elif "middle_only" in methods:
        yield f"{key}.methods: 'middle_only' is for runs with sims of one tier alone; remove it."


def _check_folds(key: str, run: Mapping[str, Any], n_folds: int) -> Iterator[str]:
    for level, n in enumerate(run["levels"]):
        if 0 < n < 2 * n_folds:
            yield (
                f"{key}.levels: {n} sims of level {level} are too few for n_folds = {n_folds}; "
                f"give at least {2 * n_folds} or use fewer folds."
            )


def _check_sizes(key: str, settings: Settings) -> Iterator[str]:
    evaluate, test = settings["evaluate"], settings["test"]
    for name in ("n_reference", "n_examples"):
        if evaluate[name] > test:
            yield (
                f"{key}.evaluate.{name}: {evaluate[name]} is more than {key}.test = {test}; lower "
                "it, or make more test sims."
            )
    compared = [name for name in settings["metrics"] if METRICS[name].reference]
    if compared and not evaluate["n_reference"]:
        yield (
            f"{key}.evaluate.n_reference: 0 test sims are compared with the exact answer, which "
            f"{', '.join(compared)} need; raise it or leave these metrics out."
        )


def _check_summaries(key: str, settings: Settings) -> Iterator[str]:
    """Check that there are as many principal components as parameters that the config names."""
    n, wanted = len(settings["options"].get("parameters", [])), settings["n_summaries"]
    if 0 < wanted < n:
        yield (
            f"{key}.n_summaries: {wanted} are fewer than its {n} parameters; give at least {n}, or "
            "0 for all features."
        )


def _check_metrics(key: str, task: str, settings: Settings) -> Iterator[str]:
    estimator = settings["estimator"]
    for name in settings["metrics"]:
        metric, exact = METRICS[name], EXACT.get((task, estimator), set())
        if estimator not in metric.estimators or (metric.reference and name not in exact):
            can = [n for n, m in METRICS.items() if estimator in m.estimators]
            can = [n for n in can if n in exact or not METRICS[n].reference]
            yield (
                f"{key}.metrics: '{name}' cannot be computed for {estimator} of {task}; choose "
                f"from {', '.join(can)}."
            )
