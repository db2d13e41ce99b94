"""What of the published tasks is run: experiments, runs, splits, and where their files stand.

The Snakefile reads this at every start, so nothing heavy is imported before a task is asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mflens.tasks.metrics import METRICS

MERGED = ("options", "flow", "training", "correction", "mlmc", "evaluate")

Settings = dict[str, Any]


def experiment_settings(task: Mapping[str, Any], experiment: str) -> Settings:
    """Return all settings of an experiment: the task's, with its own over them.

    Parameters
    ----------
    task
        The config's `tasks.<task>`.
    experiment
        Name of the experiment.

    Returns
    -------
    dict
        The keys of the task but `experiments` and those of the experiment; every run has its
        `levels` and its `methods`.
    """
    own = task["experiments"][experiment]
    settings = {key: value for key, value in {**task, **own}.items() if key != "experiments"}
    for key in MERGED:
        settings[key] = {**task[key], **own.get(key, {})}
    settings["runs"] = {
        label: {"methods": settings["methods"], **run} for label, run in own["runs"].items()
    }
    return settings


def is_single(levels: Sequence[int]) -> bool:
    """Say whether a run has sims of one tier only, without pairs."""
    return sum(n > 0 for n in levels) == 1


def split_sizes(runs: Sequence[Sequence[int]], test: int, ladder: Sequence[str]) -> dict[str, int]:
    """Return how many sims of every split a repetition of an experiment needs.

    Runs take the first sims of each split, so the largest run decides.

    Parameters
    ----------
    runs
        Numbers of sims [n_0, n_1, ...] of every run: n_0 of the cheapest tier and n_l pairs of
        tier l and its lower neighbour, or, where one number alone is not zero, as many sims of
        that tier by itself.
    test
        Number of test sims.
    ladder
        Names of the tiers, cheapest first.
    """
    sizes: dict[str, int] = {}
    for levels in runs:
        pairs = ["bulk", *(f"pairs_{tier}" for tier in ladder[1:])]
        names = [f"single_{tier}" for tier in ladder] if is_single(levels) else pairs
        for name, n in zip(names, levels, strict=True):
            sizes[name] = max(n, sizes.get(name, 0))
    return {name: n for name, n in sizes.items() if n} | {"test": test}


class TaskPlan:
    """The plan of all tasks of one config, in the terms of Snakemake rules.

    What takes `wildcards` reads their attributes `task`, `experiment` and `run`.

    Parameters
    ----------
    config
        The whole config, checked.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.results = config["results_dir"]
        self.tasks = config["tasks"]
        self.experiments = {task: list(entry["experiments"]) for task, entry in self.tasks.items()}

    def task(self, wildcards: Any) -> Mapping[str, Any]:
        """Return the whole section of a task."""
        return self.tasks[wildcards.task]

    def settings(self, wildcards: Any) -> Settings:
        """Return all settings of an experiment."""
        return experiment_settings(self.tasks[wildcards.task], wildcards.experiment)

    def each(self, *keys: str) -> dict[str, Callable[[Any], Any]]:
        """Return functions of wildcards that give settings of an experiment, by key."""

        def give(key: str) -> Callable[[Any], Any]:
            return lambda wildcards: self.settings(wildcards)[key]

        return {key: give(key) for key in keys}

    def each_of_run(self, *keys: str) -> dict[str, Callable[[Any], Any]]:
        """Return functions of wildcards that give settings of a run, by key."""

        def give(key: str) -> Callable[[Any], Any]:
            return lambda wildcards: self.settings(wildcards)["runs"][wildcards.run][key]

        return {key: give(key) for key in keys}

    def levels(self, wildcards: Any) -> list[list[int]]:
        """Return the numbers of sims of all runs of an experiment."""
        return [run["levels"] for run in self.settings(wildcards)["runs"].values()]

    def labels(self, task: str, experiment: str) -> list[str]:
        """Return the labels of the runs of an experiment."""
        return list(self.tasks[task]["experiments"][experiment]["runs"])

    def all_labels(self) -> list[str]:
        """Return the labels of all runs, each once."""
        every = [(task, name) for task, names in self.experiments.items() for name in names]
        return list(dict.fromkeys(label for pair in every for label in self.labels(*pair)))

    def all_experiments(self) -> list[str]:
        """Return the names of all experiments, each once."""
        return list(dict.fromkeys(name for names in self.experiments.values() for name in names))

    def of_runs(self, step: str, suffix: str) -> Callable[[Any], list[str]]:
        """Return the function of wildcards that gives what a step makes of every run.

        The runs are those of the experiment, or of the whole task where there is no `experiment`.
        """

        def files(wildcards: Any) -> list[str]:
            task, one = wildcards.task, getattr(wildcards, "experiment", None)
            return [
                f"{self.results}/{task}/{step}/{experiment}/{label}{suffix}"
                for experiment in ([one] if one else self.experiments[task])
                for label in self.labels(task, experiment)
            ]

        return files

    def reference(self, wildcards: Any) -> dict[str, str]:
        """Return the exact answers as input of what is compared with them."""
        metrics = self.settings(wildcards)["metrics"]
        folder = f"{self.results}/{wildcards.task}/sample_reference"
        needed = any(METRICS[name].reference for name in metrics)
        return {"reference": f"{folder}/{wildcards.experiment}.h5"} if needed else {}

    def data(self, wildcards: Any) -> list[str]:
        """Return the files that the simulators of an experiment read.

        Raises
        ------
        ConfigError
            If the simulators do not take their options, or the files are not there.
        """
        from mflens.tasks.simulators.toys import make_toy

        options = self.settings(wildcards)["options"]
        make_toy(wildcards.task, options)
        folder = options.get("path")
        return sorted(map(str, Path(folder).glob("*.*"))) if folder else []
