"""The published tasks: plan, checks, data, scores, tables and figures."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text
from scipy import stats

from configs import TASKS, merge, read_config
from mflens.errors import ConfigError, DataError
from mflens.infer.tasks import TaskData
from mflens.prior import Prior
from mflens.run.check import check_config
from mflens.tasks.data import draw_repetitions, training_data
from mflens.tasks.examples import (
    abscissae,
    exact_examples,
    inner_nodes,
    likelihood_examples,
    posterior_densities,
    posterior_examples,
)
from mflens.tasks.figures.densities import EXACT, Panel, frames, marginals, plot_task_densities
from mflens.tasks.figures.methods import (
    STYLES,
    RoundTicks,
    plot_task_coverage,
    plot_task_distributions,
    plot_task_methods,
)
from mflens.tasks.metrics import METRICS
from mflens.tasks.plan import TaskPlan, experiment_settings, is_single, split_sizes
from mflens.tasks.reference import draw_reference
from mflens.tasks.scores import score_estimate
from mflens.tasks.simulators.toys import make_toy
from mflens.tasks.tables import (
    COMPARISON_COLUMNS,
    METHOD_COLUMNS,
    compare_methods,
    identify_run,
    lay_out_comparison,
    lay_out_methods,
    metric_values,
    tabulate_scores,
)

CONFIG = read_config()
EXPERIMENTS = [(task, name) for task in TASKS for name in CONFIG["tasks"][task]["experiments"]]
OCTILES = {"m": 1000, "prefactor": "published", "gap": 1.0}
NOISE = 0.5  # of the conjugate model below
NORMAL = Prior({"a": {"prior": "normal", "mean": 0.0, "sd": 1.0}})


class Gaussian:
    """A Gaussian N(slope * context + shift, sd^2) as what a method learned."""

    def __init__(self, slope, sd, shift=0.0):
        self.slope, self.sd, self.shift = slope, sd, shift

    def log_prob(self, target, context):
        law = torch.distributions.Normal(self.slope * context + self.shift, self.sd)
        return law.log_prob(target).sum(-1)

    def sample(self, n_samples, context, seed):
        noise = torch.randn(
            (n_samples, *context.shape), generator=torch.Generator().manual_seed(seed)
        )
        return self.slope * context + self.shift + self.sd * noise


# x = a + NOISE xi, so that a | x is N(x / (1 + NOISE^2), NOISE^2 / (1 + NOISE^2))
POSTERIOR = Gaussian(1 / (1 + NOISE**2), NOISE / math.sqrt(1 + NOISE**2))
LIKELIHOOD = Gaussian(1.0, NOISE)


def conjugate(repetitions=4, n=250):
    rng = np.random.default_rng(1)
    theta = rng.standard_normal((repetitions, n, 1))
    return {"theta": theta, "x": theta + NOISE * rng.standard_normal(theta.shape)}


def settings(task, experiment):
    return experiment_settings(CONFIG["tasks"][task], experiment)


def wildcards(**values):
    return SimpleNamespace(**values)


class TestPlan:
    def test_sizes_are_those_of_the_largest_run(self):
        runs = [[100, 5, 2], [80, 7, 3], [0, 0, 11], [13, 0, 0]]
        assert split_sizes(runs, 9, ["a", "b", "c"]) == {
            "bulk": 100, "pairs_b": 7, "pairs_c": 3, "single_a": 13, "single_c": 11, "test": 9
        }  # fmt: skip

    def test_single(self):
        assert is_single([0, 4, 0])
        assert not is_single([4, 4, 0])

    def test_experiment_comes_over_task(self):
        found = settings("g_and_k", "nle")
        assert found["options"] == {"prefactor": "published", "gap": 1.0, "m": 1}
        assert found["mlmc"]["steps"] != CONFIG["tasks"]["g_and_k"]["mlmc"]["steps"]
        assert found["mlmc"]["clip_norm"] == CONFIG["tasks"]["g_and_k"]["mlmc"]["clip_norm"]
        assert found["runs"]["pairs_50"]["methods"] == CONFIG["tasks"]["g_and_k"]["methods"]
        assert settings("toggle_switch", "nle")["runs"]["steps_80"]["methods"] == ["middle_only"]

    def test_settings_by_wildcards(self):
        plan = TaskPlan(CONFIG)
        cards = wildcards(task="toggle_switch", experiment="nle", run="published")
        assert plan.each("estimator")["estimator"](cards) == "NLE"
        assert plan.each_of_run("levels")["levels"](cards) == [10000, 500, 100]
        assert (
            plan.of_runs("step", ".h5")(cards)[0] == "results/toggle_switch/step/nle/published.h5"
        )
        assert plan.levels(cards)[1] == [0, 0, 2010]

    def test_files_of_a_task_and_of_an_experiment(self):
        plan = TaskPlan(CONFIG)
        experiments = CONFIG["tasks"]["camels"]["experiments"]
        files = [
            f"results/camels/step/{experiment}/{label}.h5"
            for experiment, entry in experiments.items()
            for label in entry["runs"]
        ]
        assert plan.of_runs("step", ".h5")(wildcards(task="camels")) == files
        one = wildcards(task="camels", experiment="sigma_8_published")
        assert plan.of_runs("step", ".h5")(one) == files[:3]

    def test_exact_answers_only_where_there_are_some(self):
        plan = TaskPlan(CONFIG)
        assert plan.reference(wildcards(task="camels", experiment="joint_matched")) == {}
        found = plan.reference(wildcards(task="g_and_k", experiment="npe"))
        assert found == {"reference": "results/g_and_k/sample_reference/npe.h5"}

    def test_missing_spectra_are_named(self):
        config = merge(CONFIG, {"tasks": {"camels": {"options": {"path": "no/where"}}}})
        with pytest.raises(ConfigError, match="no/where") as caught:
            TaskPlan(config).data(wildcards(task="camels", experiment="sigma_8_matched"))
        assert "tasks.camels" in str(caught.value)
        assert "path" in str(caught.value)

    def test_simulators_read_nothing(self):
        assert TaskPlan(CONFIG).data(wildcards(task="g_and_k", experiment="nle")) == []


BAD = [
    ("g_and_k.repetitions", 1, ["tasks.g_and_k.repetitions", "1", "minimum 2"]),
    ("g_and_k.shared", 2, ["tasks.g_and_k.shared", "2", "maximum 1"]),
    ("g_and_k.options.prefacto", 2, ["tasks.g_and_k.options.prefacto", "'prefactor'"]),
    ("g_and_k.experiment", {}, ["tasks.g_and_k.experiment", "'experiments'"]),
    ("g_and_k.methods", ["pared"], ["tasks.g_and_k.methods[0]", "'pared'", "'paired'"]),
    ("g_and_k.experiments.nle.estimator", "NRE", ["nle.estimator", "'NRE'", "NPE"]),
    ("g_and_k.experiments.nle.metrics", ["kl"], ["nle.metrics[0]", "'kl'"]),
    ("g_and_k.experiments.nle.metrics", ["mmd_squared"], ["'mmd_squared'", "forward_kl"]),
    ("camels.experiments.joint_matched.metrics", ["c2st"], ["metrics", "'c2st'", "NPE", "nlpd"]),
    ("g_and_k.experiments.nle.runs.pairs_50.levels", [9], ["pairs_50.levels", "[9]", "fewer"]),
    ("g_and_k.experiments.nle.runs.pairs_50.levels", [99, 99, 99], ["levels", "3", "2"]),
    ("g_and_k.experiments.nle.runs.pairs_50.levels", [10000, 100], ["pairs_100", "same"]),
    ("g_and_k.experiments.nle.runs.pairs_50.levels", [0, 9], ["methods", "high_only"]),
    ("g_and_k.experiments.nle.runs.pairs_50.levels", [99, 9], ["pairs_50.levels", "9", "n_folds"]),
    ("toggle_switch.experiments.nle.runs.published.levels", [9, 0, 9], ["levels", "[9, 0, 9]"]),
    ("toggle_switch.experiments.nle.runs.steps_80.methods", ["low_only"], ["middle_only"]),
    ("toggle_switch.experiments.nle.runs.published.methods", ["middle_only"], ["'middle_only'"]),
    ("camels.experiments", {"a b": CONFIG["tasks"]["camels"]["experiments"]["joint_matched"]},
     ["tasks.camels.experiments", "'a b'"]),
    ("camels.evaluate.n_examples", 300, ["evaluate.n_examples", "300", "test = 150"]),
    ("g_and_k.experiments.npe.evaluate", {"n_reference": 0}, ["n_reference", "0", "c2st"]),
    ("g_and_k.mlmc.betas", [0.9], ["tasks.g_and_k.mlmc.betas", "[0.9]", "fewer"]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "words"), BAD)
def test_bad_values_are_named(path, value, words):
    overlay = value
    for key in reversed(["tasks", *path.split(".")]):
        overlay = {key: overlay}
    with pytest.raises(ConfigError) as caught:
        check_config(merge(copy.deepcopy(CONFIG), overlay))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


class TestData:
    def draw(self, **changes):
        arguments = {"repetitions": 2, "shared": 1.0, "seed": 3} | changes
        toy = make_toy("toggle_switch", {"steps": [2, 3, 4]})
        sizes = split_sizes([[6, 5, 4], [0, 7, 0]], 3, toy.ladder)
        flat = draw_repetitions(toy, sizes, **arguments)
        arrays = {}
        for key, array in flat.items():
            split, name = key.split("/")
            arrays.setdefault(split, {})[name] = array
        return toy, arrays

    def test_repetitions_are_independent_and_reproducible(self):
        (_, a), (_, b), (_, c) = self.draw(), self.draw(), self.draw(seed=4)
        theta = a["bulk"]["theta"]
        assert theta.shape == (2, 6, 7)
        assert not np.isin(theta[0], theta[1]).any()
        assert not np.isin(theta, c["bulk"]["theta"]).any()
        np.testing.assert_array_equal(theta, b["bulk"]["theta"])
        np.testing.assert_array_equal(a["test"]["steps_4"], b["test"]["steps_4"])

    def test_more_repetitions_leave_the_first_ones(self):
        (_, two), (_, three) = self.draw(), self.draw(repetitions=3)
        np.testing.assert_array_equal(two["bulk"]["steps_2"], three["bulk"]["steps_2"][:2])

    def test_pairs_share_theta_and_numbers(self):
        (_, matched), (_, broken) = self.draw(repetitions=40), self.draw(repetitions=40, shared=0.0)
        distance = [
            abs(a["pairs_steps_4"]["steps_3"] - a["pairs_steps_4"]["steps_4"]).mean()
            for a in (matched, broken)
        ]
        assert distance[0] < 0.5 * distance[1]

    def test_training_data(self):
        toy, arrays = self.draw()
        prior = Prior(toy.parameters)
        data = training_data(arrays, toy.ladder, [5, 4, 3], estimator="NLE", prior=prior)
        assert isinstance(data, TaskData)
        assert [tensor.shape for tensor in data.bulk] == [(2, 5, 1), (2, 5, 7)]
        assert [pairs.tier for pairs in data.pairs] == ["steps_3", "steps_4"]
        assert data.pairs[1].low.shape == (2, 3, 1)
        y = prior.to_normal(arrays["pairs_steps_4"]["theta"][:, :3])
        np.testing.assert_allclose(data.pairs[1].y, y, rtol=1e-5)
        np.testing.assert_allclose(data.pairs[0].high, arrays["pairs_steps_3"]["steps_3"][:, :4])

    def test_training_data_of_one_tier(self):
        toy, arrays = self.draw()
        prior = Prior(toy.parameters)
        data = training_data(arrays, toy.ladder, [0, 7, 0], estimator="NLE", prior=prior)
        assert list(data.ladder) == ["steps_3"]
        assert data.pairs == []
        np.testing.assert_allclose(data.bulk[0], arrays["single_steps_3"]["steps_3"])


class TestPosteriorScores:
    """A conjugate model, whose posterior is known."""

    def score(self, estimate, reference=None, n_samples=400):
        test = conjugate()
        found = score_estimate(
            estimate, test, reference or {}, NORMAL, estimator="NPE", n_samples=n_samples, seed=1
        )
        return test, found

    def test_nlpd_is_the_exact_one(self):
        test, found = self.score(POSTERIOR)
        law = stats.norm(test["x"] / (1 + NOISE**2), NOISE / math.sqrt(1 + NOISE**2))
        np.testing.assert_allclose(found["nlpd"], -law.logpdf(test["theta"])[..., 0], rtol=1e-4)
        gain = found["nlpd"] - found["nlpd_minus_prior"]
        np.testing.assert_allclose(gain, -NORMAL.log_prob(test["theta"]), rtol=1e-4)

    def test_physical_density_counts_the_scale_of_the_parameter(self):
        """The same model with a parameter ten times as large: ln 10 more NLPD, the same gain."""
        test = conjugate()
        wide = Prior({"a": {"prior": "normal", "mean": 0.0, "sd": 10.0}})
        scaled = {"theta": 10 * test["theta"], "x": test["x"]}
        a, b = (
            score_estimate(POSTERIOR, t, {}, prior, estimator="NPE", n_samples=20, seed=1)
            for t, prior in ((test, NORMAL), (scaled, wide))
        )
        np.testing.assert_allclose(b["nlpd"] - a["nlpd"], math.log(10), rtol=1e-4)
        for name in ("nlpd_minus_prior", "squared_error", "hpd_level"):
            np.testing.assert_allclose(b[name], a[name], atol=1e-4)

    def test_levels_of_the_exact_posterior_are_uniform(self):
        levels = self.score(POSTERIOR)[1]["hpd_level"]
        assert levels.shape == (4, 250)
        assert stats.kstest(levels.ravel(), "uniform").pvalue > 0.01

    def test_levels_of_a_narrow_posterior_are_not(self):
        levels = self.score(Gaussian(POSTERIOR.slope, POSTERIOR.sd / 2))[1]["hpd_level"]
        assert (levels <= 0.5).mean() < 0.35

    def test_squared_error(self):
        test, found = self.score(POSTERIOR, n_samples=2000)
        expected = (test["x"] / (1 + NOISE**2) - test["theta"])[..., 0] ** 2
        np.testing.assert_allclose(found["squared_error"], expected, atol=0.1)

    @pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.47, 0.53), (3.0, 0.99, 1.0)])
    def test_c2st_sees_a_shift(self, shift, low, high):
        x = conjugate()["x"][:, :5, None]
        noise = np.random.default_rng(2).standard_normal((4, 5, 400, 1))
        reference = {"theta": POSTERIOR.slope * x + POSTERIOR.sd * noise}
        estimate = Gaussian(POSTERIOR.slope, POSTERIOR.sd, shift)
        found = self.score(estimate, reference)[1]["c2st"]
        assert found.shape == (4, 5)
        assert low <= found.mean() <= high

    def test_values_that_are_not_finite_raise(self):
        with pytest.raises(DataError, match="finite"):
            self.score(Gaussian(math.nan, 1.0))


class TestLikelihoodScores:
    """The same model, the likelihood learned."""

    def score(self, estimate, reference=None):
        test = conjugate()
        return test, score_estimate(
            estimate, test, reference or {}, NORMAL, estimator="NLE", n_samples=1024, seed=1
        )

    def test_likelihood_and_its_posterior_are_the_exact_ones(self):
        test, found = self.score(LIKELIHOOD)
        law = stats.norm(test["theta"], NOISE)
        np.testing.assert_allclose(found["nll"], -law.logpdf(test["x"])[..., 0], rtol=1e-4)
        posterior = stats.norm(test["x"] / (1 + NOISE**2), POSTERIOR.sd)
        expected = -posterior.logpdf(test["theta"])[..., 0]
        inner = abs(test["x"][..., 0]) < 2  # beyond, few draws of the prior are left
        np.testing.assert_allclose(found["nlpd"][inner], expected[inner], atol=0.02)
        assert stats.kstest(found["hpd_level"].ravel(), "uniform").pvalue > 0.01

    def test_exact_posterior_scores_are_those_of_npe(self):
        test, likelihood = self.score(LIKELIHOOD)
        posterior = TestPosteriorScores().score(POSTERIOR, n_samples=2000)[1]
        inner = abs(test["x"][..., 0]) < 2
        for name in ("nlpd", "nlpd_minus_prior", "hpd_level"):
            found, expected = likelihood[name][inner], posterior[name][inner]
            np.testing.assert_allclose(found, expected, atol=0.07)

    def test_a_likelihood_that_knows_nothing_has_the_prior_as_posterior(self):
        """Under a flat posterior, all of one density, the levels of a repetition are even."""
        flat = Prior({"a": {"prior": "uniform", "min": 0.0, "max": 1.0}})
        test = {"theta": np.random.default_rng(1).random((4, 50, 1)), "x": np.zeros((4, 50, 1))}
        found = score_estimate(
            Gaussian(0.0, 2.0), test, {}, flat, estimator="NLE", n_samples=64, seed=1
        )
        np.testing.assert_allclose(found["nlpd_minus_prior"], 0, atol=1e-6)
        np.testing.assert_allclose(np.sort(found["hpd_level"]), [(np.arange(50) + 0.5) / 50] * 4)

    def test_forward_kl_of_a_shift(self):
        """KL of N(theta, s^2) from N(theta + d, s^2) is d^2 / (2 s^2)."""
        theta = conjugate()["theta"][:, :6]
        u = (np.arange(2000) + 0.5) / 2000
        node = stats.norm(theta, NOISE).ppf(u)
        reference = {"node": node, "node_log_p": stats.norm(theta, NOISE).logpdf(node)}
        found = self.score(Gaussian(1.0, NOISE, shift=0.3), reference)[1]["forward_kl"]
        assert found.shape == (4, 6)
        np.testing.assert_allclose(found, 0.3**2 / (2 * NOISE**2), rtol=1e-3)

    def test_samples_of_the_right_likelihood_are_close(self):
        theta = conjugate()["theta"][:, :4, None]
        x = theta + NOISE * np.random.default_rng(3).standard_normal((4, 4, 300, 1))
        near = self.score(LIKELIHOOD, {"x": x})[1]
        far = self.score(Gaussian(1.0, NOISE, 1.0), {"x": x})[1]
        assert near["mmd_squared"].shape == (4, 4)
        assert near["mmd_squared"].mean() < 0.02 < 0.2 < far["mmd_squared"].mean()
        assert near["c2st"].mean() < 0.55 < 0.75 < far["c2st"].mean()


@pytest.mark.parametrize(("task", "experiment"), [e for e in EXPERIMENTS if e[0] != "camels"])
def test_reference_has_what_the_metrics_need(task, experiment):
    chosen = settings(task, experiment)
    toy = make_toy(task, chosen["options"])
    test = draw_repetitions(toy, {"test": 3}, 2, shared=1.0, seed=1)
    arrays = draw_reference(
        toy,
        test["test/theta"],
        test[f"test/{toy.ladder[-1]}"],
        chosen["metrics"],
        estimator=chosen["estimator"],
        n_samples=20,
        seed=1,
    )
    assert all(np.isfinite(array).all() for array in arrays.values())
    for name in set(arrays) - {"window"}:
        assert arrays[name].shape[:2] == (2, 3)
    if "theta" in arrays:
        bounds = Prior(toy.parameters).bounds
        assert ((arrays["theta"] >= bounds[:, 0]) & (arrays["theta"] <= bounds[:, 1])).all()


def scores(shift=0.0, repetitions=5, n=40, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((repetitions, n))
    return {
        "nlpd": noise + shift,
        "nlpd_minus_prior": noise + shift - 1,
        "c2st": 0.5 + 0.1 * rng.random((repetitions, 4)),
        "forward_kl": noise**2,
        "squared_error": noise**2,
        "hpd_level": rng.random((repetitions, n)),
    }


RUN = identify_run("npe", "NPE", [1000, 50])
SHOWN = ["nlpd", "nlpd_minus_prior", "c2st", "rmse", "coverage"]


class TestTables:
    def table(self, methods):
        return pd.DataFrame(tabulate_scores(RUN, methods, SHOWN))[METHOD_COLUMNS]

    def test_rows(self):
        arrays = scores()
        table = self.table({"paired": arrays}).set_index("metric")
        row = table.loc["nlpd"]
        assert (row["levels"], row["n_low"], row["n_high"]) == ("1000/50", 1000, 50)
        means = arrays["nlpd"].mean(1)
        assert row["mean"] == pytest.approx(means.mean())
        assert row["error"] == pytest.approx(np.sqrt(np.var(means, ddof=1) / 5))
        assert row["median"] == pytest.approx(np.median(arrays["nlpd"]))
        assert row["q95"] == pytest.approx(np.quantile(arrays["nlpd"], 0.95))
        assert row["repetitions"] == 5
        assert table.loc["rmse", "mean"] == pytest.approx(
            np.sqrt(arrays["squared_error"].mean(1)).mean()
        )
        assert table.loc["coverage_68", "mean"] == (arrays["hpd_level"] <= 0.68).mean()
        assert list(table.index[-4:]) == [f"coverage_{n}" for n in (50, 68, 90, 95)]

    def test_every_test_sim_counts(self):
        arrays = scores()
        arrays["nlpd"][3, 7] = 1e6
        row = self.table({"mlmc": arrays}).set_index("metric").loc["nlpd"]
        assert row["mean"] > 1e6 / arrays["nlpd"].size - 10

    @pytest.mark.parametrize(("shift", "verdict"), [(1.0, "better"), (-1.0, "worse"), (0, "equal")])
    def test_comparison(self, shift, verdict):
        found = {"paired": scores(), "mlmc": scores(shift, seed=0 if shift else 1)}
        rows = pd.DataFrame(
            compare_methods(RUN, found, ["nlpd", "coverage"], method="paired", seed=1)
        )
        row = rows[COMPARISON_COLUMNS].iloc[0]
        assert len(rows) == 1
        assert (row["method"], row["other"], row["verdict"]) == ("paired", "mlmc", verdict)
        assert row["significant"] == bool(shift)
        assert row["low"] <= row["difference"] <= row["high"]
        if shift:
            assert row["difference"] == pytest.approx(-shift)

    def test_nothing_to_compare(self):
        assert (
            list(compare_methods(RUN, {"mlmc": scores()}, ["nlpd"], method="paired", seed=1)) == []
        )

    def test_layout_for_people(self):
        found = {"paired": scores(), "mlmc": scores(1.0)}
        text = lay_out_methods(self.table(found))
        assert list(text["method"]) == ["paired", "mlmc"]
        assert "±" in text["nlpd"][0]
        assert text["coverage at 50 / 68 / 90 / 95 %"][0].count("/") == 3
        rows = pd.DataFrame(compare_methods(RUN, found, ["nlpd"], method="paired", seed=1))
        assert lay_out_comparison(rows)["paired − mlmc"][0].endswith("better")

    def test_metrics_of_the_configs_are_computed(self):
        for task, experiment in EXPERIMENTS:
            for metric in settings(task, experiment)["metrics"]:
                array = np.random.default_rng(0).random((3, 5))
                values = metric_values(array, metric)
                assert all(len(v) == 3 for v in values.values())


def texts(figure):
    figure.draw_without_rendering()
    found = figure.findobj(lambda artist: isinstance(artist, Text) and artist.get_text())
    assert min(text.get_fontsize() for text in found) >= 7
    return " | ".join(t.get_text() for t in found)


class TestFigures:
    runs = {"1000/10": {m: scores(seed=1) for m in STYLES}, "1000/50": {"mlmc": scores(9.0)}}

    def test_methods(self):
        rows = [
            row
            for levels, found in self.runs.items()
            for row in tabulate_scores(
                identify_run("npe", "NPE", list(map(int, levels.split("/")))), found, SHOWN
            )
        ]
        text = texts(plot_task_methods(pd.DataFrame(rows)))
        for expected in ("npe, NPE", "1000/50", "NLPD $-$ prior", "C2ST", "paired", "MLMC"):
            assert expected in text
        assert "NLPD (nats)" not in text

    def test_no_point_is_dropped(self):
        runs = copy.deepcopy(self.runs)
        runs["1000/50"]["mlmc"]["nlpd_minus_prior"][0, 0] = 1e5
        figure = plot_task_distributions(runs, SHOWN, experiment="npe")
        text = texts(figure)
        for expected in ("5 x 40 sims", "5 x 4 sims", "1000/10", "linear, high only"):
            assert expected in text
        for ax, found in zip(figure.axes, runs.values(), strict=False):
            # the two lines of dots of each method hold all its points, and the frame all of them
            dots = [line for line in ax.lines if line.get_marker() == "."]
            values = np.concatenate([line.get_ydata() for line in dots])
            assert sorted(values) == sorted(
                np.concatenate([arrays["nlpd_minus_prior"].ravel() for arrays in found.values()])
            )
            low, high = ax.get_ylim()
            assert low <= values.min() < values.max() <= high

    def test_coverage(self):
        text = texts(plot_task_coverage(self.runs, experiment="npe"))
        for expected in ("1000/10", "1000/50", "HPD credibility (npe)", "coverage minus"):
            assert expected in text

    @pytest.mark.parametrize("limits", [(-3, 2000), (0.2, 0.3), (-0.4, 0.1), (1e-3, 9)])
    def test_ticks(self, limits):
        ticks = RoundTicks(0.5).tick_values(*limits)
        assert 3 <= len(ticks) <= 10
        assert list(ticks) == sorted(ticks)

    def test_densities(self):
        nodes = np.linspace(0, 1, 9)
        curve = (nodes, stats.norm.pdf(nodes))
        panels = [
            [Panel({"paired": curve, EXACT: curve}, 0.4, (0, 1), f"test sim {i}", "$x$")]
            for i in range(2)
        ]
        text = texts(plot_task_densities(panels, experiment="nle"))
        for expected in ("test sim 1", "exact", "truth", "paired", "density (nle)"):
            assert expected in text

    def test_marginals_are_densities_within_the_prior(self):
        draws = {"paired": np.random.default_rng(0).random((500, 2))}
        bounds = np.array([[0.0, 1.0], [-np.inf, np.inf]])
        curves = marginals(draws, ["a", "b"], bounds)
        assert frames(curves, bounds)[0] == (0.0, 1.0)
        for mine in curves:
            assert np.trapezoid(mine["paired"][1], mine["paired"][0]) == pytest.approx(1)


class TestExamples:
    def test_density_and_samples_of_a_posterior_agree(self):
        test = conjugate(2, 3)
        nodes = inner_nodes(NORMAL)
        density = posterior_densities(POSTERIOR, test["x"], NORMAL, nodes)
        np.testing.assert_allclose(np.trapezoid(density, nodes), 1, atol=1e-3)
        mean = np.trapezoid(density * nodes, nodes)
        draws = posterior_examples(POSTERIOR, test["x"], NORMAL, n_samples=4000, seed=1)
        np.testing.assert_allclose(draws.mean(1)[:, 0], mean, atol=0.05)

    def test_density_of_a_likelihood(self):
        test = conjugate(2, 3)
        nodes = np.linspace(-4, 4, 50) * np.ones((3, 1))
        found = likelihood_examples(LIKELIHOOD, test["theta"], nodes, NORMAL)
        np.testing.assert_allclose(found, stats.norm(test["theta"][0], NOISE).pdf(nodes), rtol=1e-3)

    def test_exact_curves(self):
        node = np.linspace(-2, 2, 40) * np.ones((1, 3, 1))
        x, curves = exact_examples({"node": node, "node_log_p": stats.norm.logpdf(node)}, node)
        assert x.shape == (3, 40)
        np.testing.assert_allclose(curves[0][1], stats.norm.pdf(node[0, 0]))

        drawn = np.random.default_rng(0).standard_normal((1, 3, 500, 1))
        x, curves = exact_examples({"x": drawn}, node)
        assert abscissae(x).shape[0] == 3
        assert np.trapezoid(curves[1][1], curves[1][0]) == pytest.approx(0.94, abs=0.01)

        assert exact_examples({}, conjugate(2, 3)["x"])[1] == []


def test_every_method_has_a_style():
    methods = {m for task in TASKS for e in CONFIG["tasks"][task]["experiments"]
               for run in settings(task, e)["runs"].values() for m in run["methods"]}  # fmt: skip
    assert methods <= set(STYLES)
    assert len({style.colour for style in STYLES.values()}) == len(STYLES)


def test_every_metric_has_its_scores():
    assert {metric.array for metric in METRICS.values()} <= {
        "nll", "nlpd", "nlpd_minus_prior", "hpd_level", "squared_error", "c2st", "forward_kl",
        "forward_kl_window", "mmd_squared",
    }  # fmt: skip
