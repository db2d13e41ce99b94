"""Densities of all repetitions, their scaler, calibration and stack, and the methods of tasks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from mflens.errors import ConfigError, TrainingError
from mflens.files.io import load_model, save_model
from mflens.infer.estimates import (
    Estimate,
    FoldedFlows,
    PriorDensity,
    Stack,
    calibrate,
    shrink_spread,
    stack_weights,
)
from mflens.infer.folds import count_together, split_folds
from mflens.infer.gaussian import LinearDensity, log_box_mass
from mflens.infer.losses import Pairs
from mflens.infer.replicas import FlowReplicas
from mflens.infer.scaler import Scaler
from mflens.infer.tasks import METHODS, TaskData, TaskSettings, fit_methods
from mflens.seeding import new_generator, seeded

N_REPETITIONS, N_FOLDS = 2, 3
FLOW = {"transforms": 1, "hidden_features": 8, "bins": 4}
COVARIANCE = torch.tensor([[[0.09, 0.03], [0.03, 0.04]], [[0.02, -0.01], [-0.01, 0.3]]])
MEAN = torch.tensor([[[0.4, 0.8], [0.1, 0.5]], [[0.5, 0.5], [-0.4, 1.2]]])


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=new_generator(seed))


def make_flows(n_target=1, n_context=1, estimator="NPE"):
    with seeded(1):
        return FlowReplicas(
            n_replicas=N_REPETITIONS * N_FOLDS,
            n_target=n_target,
            n_context=n_context,
            flow=FLOW,
            estimator=estimator,
        )


def make_linear(bounded):
    """Return a linear density whose mean is its context."""
    weight = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    offset = torch.zeros(2, 1, 2, dtype=torch.float64)
    return LinearDensity(weight, offset, COVARIANCE.double(), bounded=bounded)


def make_density(kind):
    if kind == "folded_flows":
        return FoldedFlows(make_flows(2, 2), torch.tensor([0.8, 1.3]))
    if kind == "prior":
        return PriorDensity(torch.zeros(2, 1, 2), 2 * torch.ones(2, 1, 2))
    if kind == "stack":
        members = [make_density(member) for member in ("folded_flows", "linear", "prior")]
        return Stack(members, torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.3, 0.0]]))
    return make_linear(bounded=kind == "bounded")


def grid_2d(n=91, bound=5.5):
    """Return targets on a square grid, shape (repetition, n^2, 2), and the cell's area."""
    axis = torch.linspace(-bound, bound, n)
    points = torch.cartesian_prod(axis, axis)
    return points.expand(N_REPETITIONS, -1, -1), float(axis[1] - axis[0]) ** 2


# --- densities


@pytest.mark.parametrize("kind", ["folded_flows", "linear", "bounded", "prior", "stack"])
def test_density_integrates_to_one_and_its_samples_follow_it(kind):
    density, (y, area) = make_density(kind), grid_2d()
    for i in range(2):
        context = MEAN[:, i : i + 1]
        with torch.no_grad():
            log_q = density.log_prob(y, context.expand(-1, y.shape[1], -1).contiguous())
            drawn = density.sample(3000, context, new_generator(1))
            found = density.log_prob(
                drawn[:, :, 0].transpose(0, 1), context.expand(-1, 3000, -1).contiguous()
            )
        q = log_q.exp()
        # masses of the cube are estimates
        torch.testing.assert_close(q.sum(1) * area, torch.ones(2), atol=0.03, rtol=0)
        entropy = (q * log_q.clamp(-99)).sum(1) * area
        torch.testing.assert_close(found.mean(1), entropy, atol=0.12, rtol=0)
        mean = (q[..., None] * y).sum(1) * area
        torch.testing.assert_close(drawn.mean(0)[:, 0], mean, atol=0.15, rtol=0)


def test_box_mass_agrees_with_scipy():
    log_mass, _, u = log_box_mass(MEAN.double(), torch.linalg.cholesky(COVARIANCE.double()), 20_000)
    assert u.min() >= 0 and u.max() <= 1
    for r in range(2):
        for i in range(2):
            normal = stats.multivariate_normal(MEAN[r, i].numpy(), COVARIANCE[r].numpy())
            expected = normal.cdf([1.0, 1.0], lower_limit=[0.0, 0.0])
            assert math.exp(log_mass[r, i]) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("mean", [-30.0, -12.0, -6.0, 0.3, 1.7, 7.0, 15.0, 35.0])
def test_box_mass_is_exact_in_one_dimension(mean):
    log_mass = log_box_mass(torch.full((1, 1, 1), mean).double(), torch.ones(1, 1, 1).double())[0]
    # far from the cube only one of the two tails keeps its digits
    law = stats.norm
    expected = law.sf(-mean) - law.sf(1 - mean) if mean < 0 else law.cdf(1 - mean) - law.cdf(-mean)
    assert float(log_mass) == pytest.approx(math.log(expected), rel=1e-6)


def test_folds_mix_with_equal_weights():
    flows, y, x = make_flows(), draw(2, 5, 1), draw(2, 5, 1, seed=1)
    with torch.no_grad():
        mixture = FoldedFlows(flows, torch.ones(2)).log_prob(y, x)
        members = flows.log_prob(y.repeat_interleave(3, 0), x.repeat_interleave(3, 0))
    expected = members.reshape(2, 3, 5).exp().mean(1).log()
    torch.testing.assert_close(mixture, expected)


def test_left_out_sims_are_scored_by_their_own_member():
    flows, y, x = make_flows(), draw(6, 4, 1), draw(6, 4, 1, seed=1)
    found = FoldedFlows(flows, torch.tensor([1.0, 2.0])).log_prob_left_out(y, x)
    with torch.no_grad():
        expected = flows.log_prob(y, x, torch.tensor([1.0, 1, 1, 2, 2, 2])).reshape(2, 12)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("n_samples", [1, 2, 7])
def test_few_samples_leave_members_out(n_samples):
    drawn = make_density("folded_flows").sample(n_samples, draw(2, 4, 2), new_generator(1))
    assert drawn.shape == (n_samples, 2, 4, 2) and torch.isfinite(drawn).all()


# --- calibration and stack


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.8])
def test_calibration_finds_by_how_much_flows_are_too_narrow(factor):
    flows = make_flows(2, 1)
    for weight in flows.weights:
        # members that are the same: nothing of the spread comes from their mixture
        weight.data.copy_(weight.data[:1].expand_as(weight))
    context = draw(6, 300, 1)
    with torch.no_grad():
        target = flows.from_latent(factor * draw(6, 300, 2, seed=1), context)
    mixture = FoldedFlows(flows, torch.ones(2))
    found = calibrate(mixture, target, context, generator=new_generator(2)).spread
    torch.testing.assert_close(found, torch.full((2,), factor), rtol=0.08, atol=0)


class Shifted:
    """Members N(shift, 1) of one repetition, whatever the context."""

    def __init__(self, shift):
        self.shift, self.arguments = shift, {"n_replicas": len(shift), "n_target": 1}

    def eval(self):
        return self

    def select(self, chosen):
        return Shifted(self.shift[chosen])

    def to_latent(self, target, context):
        return target - self.shift[:, None, None]

    def from_latent(self, z, context):
        return z + self.shift[:, None, None]


def test_mixture_of_members_that_differ_needs_less_spread():
    shift = torch.tensor([-0.3, 0.3])
    target = shift[:, None, None] + draw(2, 4000, 1)
    found = calibrate(
        FoldedFlows(Shifted(shift), torch.ones(1)),
        *(target, torch.zeros(2, 4000, 1)),
        generator=new_generator(2),
    )
    assert float(found.spread) ** 2 == pytest.approx(1 - 2 * 0.3**2, rel=0.05)


def test_few_sims_widen_a_little_whatever_they_ask_for():
    asked = torch.tensor([0.5, 2.0])
    few, many = shrink_spread(asked, 10), shrink_spread(asked, 10_000)
    assert 1 < few[0] < few[1] < 1.25
    torch.testing.assert_close(many, asked, rtol=0.02, atol=0)


def test_stack_gives_the_weight_to_what_predicts_left_out_sims():
    good, bad = draw(1, 200), draw(1, 200) - 3
    weights = stack_weights(torch.stack([torch.cat([bad, good]), torch.cat([good, bad])], dim=1))
    assert weights[0, 1] > 0.9 > 0.1 > weights[1, 1]
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    # of two that are the same the first is taken
    same = stack_weights(good[:, None].expand(1, 2, -1))
    assert same[0, 0] > same[0, 1]


# --- scaler and estimates


def test_scaler_round_trip_and_slope():
    x = torch.exp(draw(2, 300, 2)) * torch.tensor([1e3, 1e-3])
    scaler = Scaler.fit(x, 0)
    z = scaler.transform(x)
    torch.testing.assert_close(scaler.inverse(z), x, rtol=1e-4, atol=1e-6)
    assert z.abs().max() < 10 and 0.5 < z.std() < 2
    at = x[:, :5].clone().requires_grad_(True)
    gradient = torch.autograd.grad(scaler.transform(at).sum(), at)[0]
    torch.testing.assert_close(scaler.log_slope(x[:, :5]), gradient.log().sum(-1))


def test_scaler_keeps_standardised_principal_components():
    x = draw(2, 4000, 2) @ draw(2, 2, 5, seed=1) * 10 + 3 + 0.01 * draw(2, 4000, 5, seed=2)
    scaler = Scaler.fit(x, 2)
    z = scaler.transform(x)
    covariance = z.mT @ z / 4000 - z.mean(1, keepdim=True).mT @ z.mean(1, keepdim=True)
    torch.testing.assert_close(covariance, torch.eye(2).expand(2, 2, 2), atol=0.01, rtol=0)


def test_likelihood_integrates_to_one_in_the_units_of_the_data():
    x, y = torch.exp(2 * draw(2, 400, 1)) * 1e3, draw(2, 1, 1, seed=1)
    scaler = Scaler.fit(x, 0)
    estimate = Estimate(
        "NLE", scaler, FoldedFlows(make_flows(estimator="NLE"), torch.tensor([0.8, 1.2]))
    )
    grid = scaler.inverse(torch.linspace(-9, 9, 6001)[:, None].expand(2, -1, 1))
    q = estimate.log_prob(grid, y.expand(2, 6001, 1)).exp()
    mass = torch.trapezoid(q, grid[..., 0])
    torch.testing.assert_close(mass, torch.ones(2), atol=5e-3, rtol=0)
    # samples are in the same units, and many samples are scored as one by one
    samples = estimate.sample(400, y, seed=3)
    assert samples.shape == (400, 2, 1, 1)
    together = estimate.log_prob(samples, y)
    torch.testing.assert_close(together[7], estimate.log_prob(samples[7], y))
    below = (samples[:, :, 0, 0] < grid[:, 3000, 0]).float().mean(0)
    half = torch.trapezoid(q[:, :3001], grid[:, :3001, 0])
    torch.testing.assert_close(below, half, atol=0.08, rtol=0)


@pytest.mark.parametrize("kind", ["folded_flows", "linear", "bounded", "prior", "stack"])
def test_estimates_survive_the_file(kind, tmp_path):
    x, y = draw(2, 30, 2), draw(2, 30, 2, seed=1)
    estimate = Estimate("NPE", Scaler.fit(x, 0), make_density(kind))
    save_model(tmp_path / "model.pt", *estimate.to_state())
    again = Estimate.from_state(*load_model(tmp_path / "model.pt"))
    assert torch.equal(again.log_prob(y, x), estimate.log_prob(y, x))
    assert torch.equal(again.sample(5, x, seed=1), estimate.sample(5, x, seed=1))


# --- folds and methods


def test_folds_are_equal_and_leave_out_different_sims():
    train, held_out = split_folds(
        11, tier="high", n_folds=3, n_repetitions=2, generator=new_generator(1)
    )
    assert train.shape == (6, 8) and held_out.shape == (6, 3)
    for r in range(2):
        assert held_out[3 * r : 3 * r + 3].unique().numel() == 9
        for fold in range(3 * r, 3 * r + 3):
            assert torch.cat([train[fold], held_out[fold]]).unique().numel() == 11
    assert not torch.equal(held_out[:3], held_out[3:])


def test_sims_of_one_cosmology_stay_in_one_fold():
    cosmology = torch.arange(7).repeat_interleave(3)
    assert count_together(cosmology) == 3
    train, held_out = split_folds(
        21, tier="high", n_folds=3, n_repetitions=2, generator=new_generator(1), n_together=3
    )
    assert train.shape == (6, 15) and held_out.shape == (6, 6)
    for kept, left_out in zip(train, held_out, strict=True):
        assert not set(cosmology[kept].tolist()) & set(cosmology[left_out].tolist())
        assert torch.cat([kept, left_out]).unique().numel() == 21
    with pytest.raises(ConfigError, match="2 cosmologies"):
        split_folds(
            6, tier="high", n_folds=3, n_repetitions=1, generator=new_generator(1), n_together=3
        )


@pytest.mark.parametrize("cosmology", [[1, 2, 3], [1, 1, 2], [1, 2, 1, 2], []])
def test_sims_that_share_no_cosmology_in_blocks_are_split_one_by_one(cosmology):
    assert count_together(cosmology) == 1


SETTINGS = TaskSettings(
    flow=FLOW,
    training={
        "max_epochs": 2,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "patience": 2,
        "clip_norm": 5.0,
    },
    correction={"max_epochs": 2},
    mlmc={
        "steps": 2,
        "rescale": True,
        "project": True,
        "epsilon": 1e-8,
        "betas": (0.85, 0.999),
    },
    n_folds=2,
    n_summaries=0,
    latent=False,
    seed=1,
)


def make_data(estimator, n_pairs=16):
    def level(n, seed):
        y = draw(2, n, 2, seed=seed)
        low = y + draw(2, n, 2, seed=seed + 1)
        return y, low, low + 0.3 * y

    y, x, _ = level(40, 0)
    pairs = []
    for seed, tier in ((10, "middle"), (20, "high")):
        y_pairs, low, high = level(n_pairs, seed)
        pairs.append(Pairs(tier, low, high, y_pairs))
    return TaskData(estimator, ["low", "middle", "high"], (x, y), pairs)


@pytest.mark.parametrize(("estimator", "latent"), [("NPE", False), ("NLE", False), ("NLE", True)])
def test_every_method_runs_on_three_tiers(estimator, latent):
    data, settings = make_data(estimator), replace(SETTINGS, latent=latent)
    methods = ["paired"] if latent else list(METHODS)
    estimates, history = fit_methods(data, methods, settings)
    top = data.pairs[-1]
    target, context = (top.y, top.high) if estimator == "NPE" else (top.high, top.y)
    for name, estimate in estimates.items():
        log_q = estimate.log_prob(target, context)
        assert log_q.shape == (2, 16) and torch.isfinite(log_q).all(), name
        assert estimate.sample(3, context, seed=1).shape == (3, 2, 16, 2), name
    assert {"method", "epoch", "train", "validation"} == set(history[0])


def test_unknown_method():
    with pytest.raises(ConfigError, match="no method 'magic'.*'paired'"):
        fit_methods(make_data("NPE"), ["magic"], SETTINGS)


def test_too_few_sims_for_the_folds():
    with pytest.raises(ConfigError, match="3 sims of high are too few for 2 folds; .* at least 4"):
        fit_methods(make_data("NPE", n_pairs=3), ["high_only"], SETTINGS)


@pytest.mark.parametrize("method", ["low_only", "high_only", "transfer", "mlmc", "paired"])
def test_non_finite_sims_stop_the_run(method):
    data = make_data("NPE")
    broken = data.bulk[0] if method == "low_only" else data.pairs[-1].high
    broken[1, ::2] = np.nan
    with pytest.raises(TrainingError, match=r"the loss of level \w+ is nan .*step \d"):
        fit_methods(data, [method], SETTINGS)
