"""Sample allocation and ablations of the published tasks: planner, pilot, studies, figure."""

import copy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from scipy.optimize import minimize

from configs import merge, read_config
from mflens.errors import ConfigError, TrainingError
from mflens.infer.losses import Pairs
from mflens.infer.tasks import Bench, TaskData
from mflens.run.check import check_config
from mflens.tasks.ablations import (
    ABLATION_COLUMNS,
    DISTANCE,
    PAIRS,
    SCORE_COLUMNS,
    WORSE,
    draw_setting,
    lay_out_ablations,
    pair_distance,
    run_study,
    score_one_by_one,
    tabulate_ablations,
)
from mflens.tasks.allocation import (
    ALLOCATION_COLUMNS,
    expected_error,
    level_costs,
    minimise_variance,
    plan_levels,
    tabulate_allocations,
)
from mflens.tasks.data import engine_settings
from mflens.tasks.design import (
    DesignPlan,
    ablation_settings,
    apply_setting,
    expand_study,
    write_setting,
)
from mflens.tasks.figures.design import plot_task_ablations
from mflens.tasks.pilot import (
    LEVEL_COLUMNS,
    measure_variances,
    regression_coefficient,
    split_pilot,
    tabulate_levels,
    time_tiers,
    weigh_variances,
)
from mflens.tasks.simulators.toys import make_toy

CONFIG = read_config()
TINY = {
    "levels": [40, 12],
    "repetitions": 2,
    "test": 4,
    "metrics": ["forward_kl", "nll"],
    "training": {"max_epochs": 2, "batch_size": 64},
    "mlmc": {"steps": 2},
    "flow": {"hidden_features": 4, "bins": 3},
    "evaluate": {"n_samples": 10, "n_reference": 2, "n_reference_samples": 10},
}
STEPS = level_costs([50, 80, 300])  # the toggle switch


def tiny_settings():
    """Return settings of small ablations of g_and_k."""
    task = merge(CONFIG["tasks"]["g_and_k"], {"ablations": TINY})
    return ablation_settings(task)


def cards(task, **values):
    return SimpleNamespace(task=task, **values)


class TestPlanner:
    def test_costs_of_levels_are_those_of_both_members(self):
        np.testing.assert_array_equal(STEPS, [50, 130, 380])
        assert np.dot([10000, 500, 100], STEPS) == 603000  # as published

    def test_closed_form_of_two_levels(self):
        # n_l ~ sqrt(V_l / C_l) = 2, 1/2, whose cost is 4
        assert plan_levels([4, 1], [1, 4], 4000, least=10) == [2000, 500]

    @pytest.mark.parametrize("seed", range(5))
    def test_optimal_as_a_general_solver_finds(self, seed):
        rng = np.random.default_rng(seed)
        v, c = rng.uniform(0.01, 2, 3) ** 2, rng.uniform(1, 50, 3)
        budget, least = 30 * c.sum(), 10.0
        found = minimise_variance(v, c, budget, least)
        solved = minimize(
            lambda log_n: np.log(np.sum(v / np.exp(log_n))),
            np.log(np.full(3, 20.0)),
            bounds=[(np.log(least), None)] * 3,
            constraints={"type": "ineq", "fun": lambda log_n: 1 - np.exp(log_n) @ c / budget},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert np.sum(v / found) == pytest.approx(np.exp(solved.fun), rel=1e-4)
        assert found @ c == pytest.approx(budget)
        # free levels gain the same for a unit of cost, bounded ones less
        gain, free = v / found**2 / c, found > least * (1 + 1e-9)
        np.testing.assert_allclose(gain[free], gain.max(), rtol=1e-6)

    @pytest.mark.parametrize("budget", [5600.0, 9999.0, 603000.0])
    def test_budget_and_least_numbers_are_kept(self, budget):
        v = np.array([1.6, 0.9, 0.5])
        found = plan_levels(v, STEPS, budget, least=10)
        assert min(found) >= 10
        assert budget - STEPS.min() < np.dot(found, STEPS) <= budget
        real = minimise_variance(v, STEPS, budget, 10)
        assert expected_error(v, found) == pytest.approx(np.sqrt(np.sum(v / real)), rel=0.05)

    def test_more_variance_more_sims_and_more_cost_fewer(self):
        v, base = np.array([1.0, 0.5, 0.2]), plan_levels([1.0, 0.5, 0.2], STEPS, 1e6, least=10)
        for level in range(3):
            more = np.where(np.arange(3) == level, 2.0, 1.0)
            assert plan_levels(v * more, STEPS, 1e6, least=10)[level] > base[level]
            assert plan_levels(v, STEPS * more, 1e6, least=10)[level] < base[level]

    def test_levels_without_variance_get_the_least(self):
        found = plan_levels([1.0, 0.0, 0.0], [1, 2, 3], 1000, least=7)
        assert found[1:] == [7, 7]
        assert min(plan_levels([0.0, 0.0], [1, 2], 100, least=7)) >= 7

    def test_too_small_a_budget_names_the_least(self):
        assert plan_levels([1, 1, 1], STEPS, 5600, least=10) == [10, 10, 10]
        with pytest.raises(ConfigError, match=r"5599.*10 sims of each of 3 levels.*5600"):
            plan_levels([1, 1, 1], STEPS, 5599, least=10)

    def test_table(self):
        levels = pd.DataFrame(
            {
                "cost_tier": [50.0, 80.0, 300.0],
                "variance_tier": [1.0, 1.0, 1.0],
                "variance_raw": [1.0, 0.3, 0.2],
                "variance_translated": [0.8, 0.1, 0.1],
            }
        )
        given = {"published": [10000, 500, 100], "b": [9260, 200, 300]}
        table = tabulate_allocations(levels, given, least=10)
        assert list(table.columns) == ALLOCATION_COLUMNS
        assert list(table["allocation"])[:4] == [*given, "planned_raw", "planned_translated"]
        by_name = table.set_index("allocation")
        assert by_name.loc["published", "cost"] == 603000
        assert (by_name["cost"] <= 603000).all()
        for kind in ("raw", "translated"):
            errors = by_name[f"expected_error_{kind}"].drop("top_tier_alone")
            assert errors.idxmin() == f"planned_{kind}"
            assert by_name.loc["published", f"over_published_{kind}"] == 1
        assert by_name.loc["top_tier_alone", "levels"] == "0/0/2010"
        assert by_name.loc["top_tier_alone", "expected_error_raw"] == pytest.approx(2010**-0.5)


class TestPilot:
    def test_coefficient(self):
        f = torch.randn(3, 500, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(regression_coefficient(0.5 * f + 3, f), torch.full((3,), 0.5))
        assert (regression_coefficient(-f, f) == 0).all()
        assert (regression_coefficient(3 * f, f) == 1).all()

    def test_variances_are_weighted_by_all_coefficients_above(self):
        v, b = [torch.tensor([x]) for x in (2.0, 3.0, 5.0)], [torch.tensor([x]) for x in (0.5, 0.1)]
        found = weigh_variances(v, b)
        torch.testing.assert_close(torch.cat(found), torch.tensor([2 * 0.05**2, 3 * 0.01, 5.0]))

    @pytest.mark.parametrize("gap", [0.0, 1.0])
    def test_levels_of_a_task(self, gap):
        settings = apply_setting(tiny_settings(), {"gap": gap})
        toy = make_toy("g_and_k", settings["options"])
        data, _, _ = draw_setting(toy, {**settings, "levels": [40, 24]}, seed=1)
        fitted, measured = split_pilot(data, 12)
        assert [len(p) for p in (*fitted.pairs, *measured)] == [12, 12]
        assert not np.isin(measured[0].y, fitted.pairs[0].y).any()
        found = measure_variances(fitted, measured, engine_settings(settings, 1))
        names = ("variance_tier", "variance_raw", "variance_translated", "beta")
        shapes = {name: values.shape for name, values in found.items()}
        assert shapes == dict.fromkeys(names, (2, 2))
        np.testing.assert_allclose(found["variance_raw"][:, 0], found["variance_tier"][:, 0])
        # equal fidelities have equal losses
        assert (found["variance_raw"][:, 1] < 1e-9).all() == (gap == 0)
        seconds = time_tiers(toy, np.random.default_rng(0))
        assert min(seconds) > 0
        table = tabulate_levels(toy, seconds, found)
        assert list(table.columns) == LEVEL_COLUMNS
        assert list(table["cost_level"]) == [1, 2]


class TestPlan:
    def test_pilot_and_allocations(self):
        plan = DesignPlan(CONFIG)
        assert set(plan.of("allocation")) == set(CONFIG["tasks"])
        found = plan.allocations(cards("toggle_switch"))
        assert list(found)[0] == "published"
        assert "steps_300" not in found, "one tier alone is no allocation"
        pilot = plan.pilot(cards("toggle_switch"))
        assert "runs" not in pilot
        assert pilot["training"] == {
            **CONFIG["tasks"]["toggle_switch"]["training"], **pilot["pilot"]["training"]
        }  # fmt: skip

    def test_studies(self):
        plan = DesignPlan(CONFIG)
        files = plan.of_studies(cards("g_and_k"))
        assert "results/g_and_k/finetune_ablations/fidelity_gap.csv" in files
        study = plan.study(cards("g_and_k", ablation="seed_matching"))
        assert study["methods"] == ["mlmc", "paired"]
        assert "studies" not in study
        assert "runs" not in study
        assert study["options"] == {"prefactor": "published", "gap": 1.0, "m": 1}
        assert plan.ablation_metrics(cards("g_and_k"))[0] == "forward_kl"

    def test_a_config_without_ablations_still_has_a_plan(self):
        config = copy.deepcopy(CONFIG)
        for task in config["tasks"].values():
            task.pop("ablations", None)
        assert DesignPlan(config).all_studies() == ["none"]
        check_config(config)

    def test_settings_are_all_combinations(self):
        found = expand_study({"rescale": [True, False], "learning_rate": [1e-4, 1e-2]})
        assert len(found) == 4
        assert found["rescale false, learning_rate 0.0001"] == {
            "rescale": False, "learning_rate": 1e-4
        }  # fmt: skip
        assert write_setting({"shared": 0.5}) == "shared 0.5"

    def test_a_setting_changes_its_own_copy(self):
        settings = tiny_settings()
        before = copy.deepcopy(settings)
        changed = apply_setting(settings, {"shared": 0.5, "gap": 0.2, "epsilon": 1e-3})
        assert (changed["shared"], changed["options"]["gap"]) == (0.5, 0.2)
        assert changed["mlmc"]["epsilon"] == 1e-3
        assert settings == before

    @pytest.mark.parametrize(
        ("key", "value", "words"),
        [
            ("allocation.experiment", "nl", ["tasks.toggle_switch.allocation.experiment", "'nl'"]),
            ("allocation.run", "steps_300", ["tasks.toggle_switch.allocation.run", "published"]),
            ("allocation.pilot.pairs", 9, ["pilot.pairs: 9", "at least 10"]),
            ("allocation.pilot.bulk", 9, ["pilot.bulk: 9", "at least 10"]),
        ],
    )
    def test_bad_allocation_is_named(self, key, value, words):
        self.refuse("toggle_switch", key, value, words)

    @pytest.mark.parametrize(
        ("key", "value", "words"),
        [
            ("ablations.experiment", "x", ["tasks.g_and_k.ablations.experiment", "'x'"]),
            ("ablations.levels", [90, 90, 90], ["tasks.g_and_k.ablations.levels", "3", "give 2"]),
            ("ablations.levels", [90, 3], ["3 sims of level 1", "n_folds = 2"]),
            ("ablations.metrics", ["c2st"], ["tasks.g_and_k.ablations.metrics", "'c2st'"]),
            ("ablations.test", 5, ["tasks.g_and_k.ablations.evaluate", "5"]),
            (
                "ablations.studies.seed_matching.methods",
                ["middle_only"],
                ["tasks.g_and_k.ablations.studies.seed_matching", "middle_only"],
            ),
        ],
    )
    def test_bad_ablations_are_named(self, key, value, words):
        self.refuse("g_and_k", key, value, words)

    @staticmethod
    def refuse(task, key, value, words):
        for name in reversed(key.split(".")):
            value = {name: value}
        with pytest.raises(ConfigError) as caught:
            check_config(merge(CONFIG, {"tasks": {task: value}}))
        message = str(caught.value)
        assert all(word in message for word in words), message


class TestAblations:
    def test_a_study(self):
        settings = {**tiny_settings(), "methods": ["mlmc", "paired"], "vary": {"gap": [0.0, 1.0]}}
        rows = list(run_study("g_and_k", settings, ablation="fidelity_gap", seed=1))
        table = pd.DataFrame(rows)
        assert list(table.columns) == SCORE_COLUMNS
        assert np.isfinite(table["value"]).all()
        found = tabulate_ablations(table, "paired")
        assert list(found.columns) == ABLATION_COLUMNS
        assert (found["repetitions"] == 2).all()
        by_metric = found[found["metric"] == DISTANCE].set_index("setting")["mean"]
        assert by_metric["gap 0.0"] < 1e-6 < by_metric["gap 1.0"]
        assert set(table.loc[table["metric"] == WORSE, "value"]) <= {0.0, 1.0}
        assert "paired" in set(lay_out_ablations(found)["method"])

    def test_distance_of_pairs(self):
        generator = torch.Generator().manual_seed(1)
        x, other, bulk = torch.randn(3, 4, 2000, 1, generator=generator)
        y = torch.zeros(4, 2000, 1)

        def distance(low):
            return pair_distance(TaskData("NLE", ["a", "b"], (bulk, y), [Pairs("b", low, x, y)]))

        np.testing.assert_allclose(distance(x), 0)
        np.testing.assert_allclose(distance(other), 2**0.5, rtol=0.05)

    def test_only_what_diverged_is_infinite(self):
        settings = tiny_settings()
        toy = make_toy("g_and_k", settings["options"])
        data, test, exact = draw_setting(toy, settings, seed=1)
        bench = Bench(data, engine_settings(settings, 1))
        lost = float(data.bulk[0][1, 0, 0])

        def score(method, alone, cut, reference):
            assert alone.n_repetitions == len(cut["x"]) == 1
            assert reference["node"].shape[0] == 1
            if float(alone.scaler.inverse(alone.bulk[0])[0, 0, 0]) == pytest.approx(lost, rel=1e-3):
                raise TrainingError("diverged")
            return {"nll": np.ones((1, 4)), "forward_kl": np.zeros((1, 2))}

        found = score_one_by_one(score, "mlmc", bench, data, test, exact)
        np.testing.assert_array_equal(found["nll"], [[1] * 4, [np.inf] * 4])
        np.testing.assert_array_equal(found["forward_kl"], [[0] * 2, [np.inf] * 2])

    def test_all_diverged(self):
        settings = tiny_settings()
        toy = make_toy("g_and_k", settings["options"])
        data, test, exact = draw_setting(toy, settings, seed=1)

        def score(*_):
            raise TrainingError("diverged")

        bench = Bench(data, engine_settings(settings, 1))
        found = score_one_by_one(score, "mlmc", bench, data, test, exact)
        assert np.isinf(found["nll"]).all()
        assert len(found["nll"]) == 2

    def test_table_pairs_repetitions(self):
        scores = made_scores()
        found = tabulate_ablations(scores, "paired").set_index(["setting", "method", "metric"])
        row = found.loc["shared 1.0", "paired", "forward_kl_minus_mlmc"]
        assert row["mean"] == pytest.approx(-1)
        assert row["error"] == pytest.approx(0, abs=1e-12)
        mean = found.loc["shared 1.0", "mlmc", "forward_kl"]
        assert mean["mean"] == pytest.approx(2.5)
        assert mean["error"] == pytest.approx(np.std([1, 2, 3, 4], ddof=1) / 2)
        assert np.isinf(found.loc["shared 0.0", "mlmc", "forward_kl"]["mean"])
        assert not any(WORSE in metric and "minus" in metric for _, _, metric in found.index)


def made_scores():
    """Return scores in which `paired` is better by one, and `mlmc` diverges once."""
    rows = []
    for setting, third in (("shared 1.0", 3.0), ("shared 0.0", np.inf)):
        for r, loss in enumerate([1.0, 2.0, third, 4.0]):
            for method, value in (("mlmc", loss), ("paired", float(r))):
                rows.append(("seed_matching", setting, method, "forward_kl", r, value))
                rows.append(("seed_matching", setting, method, WORSE, r, float(r == 2)))
            rows.append(("seed_matching", setting, PAIRS, DISTANCE, r, 0.1))
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def test_figure():
    studies = CONFIG["tasks"]["g_and_k"]["ablations"]["studies"]
    rng, rows = np.random.default_rng(0), []
    for name, study in studies.items():
        for i, setting in enumerate(expand_study(study["vary"])):
            for method in study["methods"]:
                value = np.inf if i == 5 else rng.random()
                rows.append((name, setting, method, "forward_kl", value, 0.1, 8))
                rows.append((name, setting, method, WORSE, 0.25, 0.1, 8))
                if method != "paired":
                    metric = f"forward_kl_minus_{method}"
                    rows.append((name, setting, "paired", metric, -0.1, 0.1, 8))
            rows.append((name, setting, PAIRS, DISTANCE, 0.1 * i, 0.01, 8))
    table = pd.DataFrame(rows, columns=ABLATION_COLUMNS)
    figure = plot_task_ablations(table, studies, "forward_kl")
    text = " | ".join(t.get_text() for t in figure.findobj(Text))
    for expected in (
        "seed matching",
        "gradient adjustment",
        "fidelity gap",
        "worse than",
        "neither",
    ):
        assert expected in text
    assert len(figure.axes) == 4
    only = {"seed_matching": studies["seed_matching"]}
    assert len(plot_task_ablations(table, only, "forward_kl").axes) == 1
