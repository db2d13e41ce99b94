"""What of the published tasks' sample allocation and ablations is run, and with which settings.

The Snakefile reads this at every start, so nothing heavy is imported.
"""

from collections.abc import Mapping
from itertools import product
from types import SimpleNamespace
from typing import Any

from mflens.tasks.plan import MERGED, Settings, TaskPlan, experiment_settings, is_single

# where in the settings of an experiment stands what a study varies
VARIED = {
    "shared": "",
    "prefactor": "options",
    "gap": "options",
    "rescale": "mlmc",
    "project": "mlmc",
    "epsilon": "mlmc",
    "learning_rate": "mlmc",
}


def ablation_settings(task: Mapping[str, Any]) -> Settings:
    """Return the settings of a task's ablations: those of their experiment, with their own over."""
    own = task["ablations"]
    settings = experiment_settings(task, own["experiment"])
    merged = {key: {**settings[key], **own.get(key, {})} for key in MERGED}
    return {**settings, **own, **merged}


def expand_study(vary: Mapping[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Return every combination of what a study varies, by a text that names it."""
    combinations = [dict(zip(vary, values, strict=True)) for values in product(*vary.values())]
    return {write_setting(values): values for values in combinations}


def write_setting(values: Mapping[str, Any]) -> str:
    """Write values as `name value, name value`."""
    return ", ".join(
        f"{name} {str(value).lower() if isinstance(value, bool) else value}"
        for name, value in values.items()
    )


def apply_setting(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Return settings of an experiment with one combination of a study over them."""
    changed = dict(settings)
    for name, value in values.items():
        section = VARIED[name]
        changed |= {section: {**changed[section], name: value}} if section else {name: value}
    return changed


class DesignPlan(TaskPlan):
    """The plan of allocation and ablations, in the terms of Snakemake rules.

    What takes `wildcards` reads their attributes `task` and `ablation`.
    """

    def of(self, section: str) -> list[str]:
        """Return the tasks that have a section `allocation` or `ablations`."""
        return [name for name, task in self.tasks.items() if section in task]

    def pilot(self, wildcards: Any) -> Settings:
        """Return the settings of a task's pilot, in `pilot` its own sizes."""
        task = self.tasks[wildcards.task]
        settings = experiment_settings(task, task["allocation"]["experiment"])
        del settings["runs"]
        pilot = task["allocation"]["pilot"]
        training = {**settings["training"], **pilot["training"]}
        return settings | {"pilot": pilot, "training": training}

    def pilot_data(self, wildcards: Any) -> list[str]:
        """Return the files that the pilot's simulators read."""
        experiment = self.tasks[wildcards.task]["allocation"]["experiment"]
        return self.data(SimpleNamespace(task=wildcards.task, experiment=experiment))

    def allocations(self, wildcards: Any) -> dict[str, list[int]]:
        """Return the numbers of sims of all runs with pairs, that which sets the budget first."""
        task = self.tasks[wildcards.task]
        chosen = task["allocation"]
        runs = task["experiments"][chosen["experiment"]]["runs"]
        labels = [chosen["run"], *(label for label in runs if label != chosen["run"])]
        levels = {label: runs[label]["levels"] for label in labels}
        return {label: found for label, found in levels.items() if not is_single(found)}

    def n_folds(self, wildcards: Any) -> int:
        """Return the number of folds that the allocated sims must suffice for."""
        return self.pilot(wildcards)["n_folds"]

    def study(self, wildcards: Any) -> Settings:
        """Return the settings of one ablation, with `methods` and `vary` of its own."""
        task = self.tasks[wildcards.task]
        settings = ablation_settings(task)
        for key in ("runs", "studies"):
            del settings[key]
        return settings | task["ablations"]["studies"][wildcards.ablation]

    def studies(self, wildcards: Any) -> dict[str, Any]:
        """Return what all ablations of a task vary and compare."""
        return self.tasks[wildcards.task]["ablations"]["studies"]

    def ablation_metrics(self, wildcards: Any) -> list[str]:
        """Return the metrics of a task's ablations."""
        return self.tasks[wildcards.task]["ablations"]["metrics"]

    def of_studies(self, wildcards: Any) -> list[str]:
        """Return the scores of all ablations of a task."""
        folder = f"{self.results}/{wildcards.task}/finetune_ablations"
        return [f"{folder}/{name}.csv" for name in self.studies(wildcards)]

    def all_studies(self) -> list[str]:
        """Return the names of all ablations, each once."""
        found = [
            name
            for task in self.of("ablations")
            for name in self.tasks[task]["ablations"]["studies"]
        ]
        return list(dict.fromkeys(found)) or ["none"]
