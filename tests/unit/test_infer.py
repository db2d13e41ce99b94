"""Objectives, the training loop, regressions, posteriors and methods."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from mflens.errors import ConfigError, TrainingError
from mflens.infer.linear import fit_linear, fit_linear_high, residual_covariance
from mflens.infer.losses import MlmcObjective, Pairs, PlainObjective, adjust_gradients, nll
from mflens.infer.methods import METHODS, Data, Settings, fit_method, split_folds
from mflens.infer.paired import fit_paired_heads
from mflens.infer.posterior import CompressorFlow, Posterior, StandardNormal, sample_theta
from mflens.infer.ridge import fit_ridge
from mflens.infer.training import Training, fit, new_generator, seeded
from mflens.infer.translation import fit_translation, freshen, translate
from mflens.io import load_model, save_model
from mflens.prior import Prior

TRAINING = Training(max_epochs=3, batch_size=8, learning_rate=1e-3, patience=3, clip_norm=5.0)
SETTINGS = Settings(TRAINING, 2, torch.device("cpu"), 1)


class Shift(nn.Module):
    """y ~ N(x + shift, 1)."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.full((2,), shift))

    def forward(self, x):
        return Independent(Normal(x + self.shift, torch.ones_like(x)), 1)


def draw(n, seed=0):
    generator = new_generator(seed)
    y = torch.randn(n, 2, generator=generator)
    return y + torch.randn(n, 2, generator=generator), y


def make_network(seed=0, n_bins=1):
    with seeded(seed):
        return CompressorFlow(
            torch.arange(16, 60),
            compressor={
                "nside": 4,
                "n_bins": n_bins,
                "channels": 2,
                "n_summaries": 3,
                "hidden_features": 8,
                "non_gaussian": True,
            },
            flow={"n_parameters": 2, "transforms": 2, "hidden_features": 8, "bins": 4},
        )


def make_maps(n, seed=0):
    y = torch.randn(n, 2, generator=new_generator(seed))
    noise = torch.randn(n, 1, 2, 44, generator=new_generator(seed + 1))
    return noise * torch.exp(0.3 * y)[:, None, :, None], y.double()


# --- gradient adjustment


def test_algorithm_1_without_conflict_by_hand():
    bulk = torch.tensor([1.0, 0.0])
    plus, minus = torch.tensor([0.0, 2.0]), torch.tensor([0.0, -1.0])
    # the minus half grows to norm 2 and cancels the plus half
    torch.testing.assert_close(adjust_gradients(bulk, [(plus, minus)]), bulk)


def test_algorithm_1_projects_both_from_the_originals():
    bulk = torch.tensor([1.0, 0.0])
    plus, minus = torch.tensor([-3.0, 0.0]), torch.tensor([0.0, 0.5])
    # rescaled minus half: (0, 3); correction (-3, 3); overlap -3
    # correction' = (-3, 3) + 3 (1, 0) = (0, 3); bulk' = (1, 0) + 3/18 (-3, 3) = (1/2, 1/2)
    expected = torch.tensor([0.5, 3.5])
    torch.testing.assert_close(adjust_gradients(bulk, [(plus, minus)]), expected)


def test_algorithm_1_sums_levels():
    bulk = torch.zeros(2)
    halves = [
        (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 4.0])),
        (torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])),
    ]
    expected = torch.tensor([1.0 + 2.0, 1.0 + 2.0])
    torch.testing.assert_close(adjust_gradients(bulk, halves), expected)


def test_telescoping_sum_is_the_plain_loss_if_all_levels_are_the_same():
    x, y = draw(32)
    model = Shift(0.3)
    pairs = [Pairs(tier, x[:8], x[:8], y[:8]) for tier in ("middle", "high")]
    mlmc = MlmcObjective(model, x, y, pairs, tier="low", batch_size=32, adjust=False)
    losses = mlmc.backward(next(mlmc.batches(new_generator(1))))
    gradient = model.shift.grad.clone()
    assert losses["middle"] == losses["high"] == 0
    model.zero_grad()
    nll(model, x, y).mean().backward()
    torch.testing.assert_close(gradient, model.shift.grad)
    assert losses["low"] == pytest.approx(float(nll(model, x, y).mean().detach()), rel=1e-6)


# --- training loop


def test_early_stopping_restores_the_best_weights():
    x, y = draw(64)
    model = Shift(-1.0)
    seen = []

    def validate():
        # the optimum of the validation loss lies before that of the training loss
        seen.append((float(((model.shift + 0.5) ** 2).sum()), model.shift.detach().clone()))
        return seen[-1][0]

    training = Training(max_epochs=60, batch_size=64, learning_rate=0.05, patience=15, clip_norm=5)
    objective = PlainObjective(model, x, y, tier="low", batch_size=64)
    history = fit(model, objective, validate, training, generator=new_generator(0), name="t")
    best = min(range(len(seen)), key=lambda i: seen[i][0])
    assert 0 < best < len(seen) - 1
    torch.testing.assert_close(model.shift.detach(), seen[best][1])
    assert not torch.equal(model.shift.detach(), seen[-1][1])
    assert len(history) == best + 15 + 1


def test_training_is_deterministic():
    x, y = make_maps(16)
    results = []
    for _ in range(2):
        model = make_network()
        objective = PlainObjective(model, x, y.float(), tier="low", batch_size=8)
        fit(model, objective, lambda: 0.0, TRAINING, generator=new_generator(0), name="t")
        results.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(*results)


@pytest.mark.parametrize("broken", ["low", "high"])
def test_non_finite_loss_names_level_and_step(broken):
    x, y = draw(16)
    bad = x.clone()
    bad[3] = torch.nan
    model = Shift()
    pairs = [Pairs("high", x, bad if broken == "high" else x, y)]
    objective = MlmcObjective(
        model, bad if broken == "low" else x, y, pairs, tier="low", batch_size=16
    )
    with pytest.raises(TrainingError, match=f"level {broken} is nan at step 1 of epoch 1"):
        fit(model, objective, lambda: 0.0, TRAINING, generator=new_generator(0), name="t")


def test_non_finite_validation_stops():
    x, y = draw(16)
    model = Shift()
    objective = PlainObjective(model, x, y, tier="low", batch_size=16)
    with pytest.raises(TrainingError, match="validation"):
        fit(model, objective, lambda: np.nan, TRAINING, generator=new_generator(0), name="t")


def test_seeded_restores_the_global_stream():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with seeded(1):
        torch.rand(3)
    assert torch.equal(torch.rand(2), expected)


def test_too_few_sims_for_the_folds():
    with pytest.raises(ConfigError, match="3 high-fidelity sims are too few for 2 folds"):
        split_folds(3, SETTINGS)


def test_folds_cover_every_sim_once():
    folds = split_folds(9, Settings(TRAINING, 4, torch.device("cpu"), 1))
    assert len(folds) == 4
    assert sorted(torch.cat([held_out for _, held_out in folds]).tolist()) == list(range(9))
    assert all(not set(a.tolist()) & set(b.tolist()) for a, b in folds)


# --- regressions


@pytest.mark.parametrize("penalty", [1e-3, 0.3, np.inf])
@pytest.mark.parametrize("shape", [(12, 3), (6, 9)])
def test_leave_one_out_residuals_agree_with_brute_force(penalty, shape):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(shape), rng.standard_normal((shape[0], 2))
    ridge = fit_ridge(x, y, np.array([penalty]))
    for i in range(shape[0]):
        rest = np.arange(shape[0]) != i
        a, b = x[rest] - x[rest].mean(0), y[rest] - y[rest].mean(0)
        strength = shape[0] * min(penalty, 1e12)
        weight = np.linalg.solve(a.T @ a + strength * np.eye(shape[1]), a.T @ b)
        expected = y[i] - y[rest].mean(0) - (x[i] - x[rest].mean(0)) @ weight
        np.testing.assert_allclose(ridge.residual[i], expected, rtol=1e-5, atol=1e-7)


def test_ridge_predicts_and_picks_a_small_penalty_when_there_is_no_noise():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((50, 4))
    y = x @ rng.standard_normal((4, 2)) + 3
    ridge = fit_ridge(x, y)
    np.testing.assert_allclose(ridge.predict(x), y, atol=1e-3)
    assert fit_ridge(x, rng.standard_normal((50, 2))).penalty > 0.01


def test_residual_covariance_needs_enough_sims():
    with pytest.raises(ConfigError, match="4 high-fidelity sims cannot give the covariance of 2"):
        residual_covariance(np.ones((4, 2)))
    rng = np.random.default_rng(2)
    draws = [np.linalg.inv(residual_covariance(rng.standard_normal((8, 2)))) for _ in range(4000)]
    np.testing.assert_allclose(np.mean(draws, axis=0), np.eye(2), atol=0.1)


def test_linear_falls_back_to_an_offset_with_few_sims():
    rng = np.random.default_rng(3)
    y = rng.standard_normal((500, 2))
    x = np.exp(y @ rng.standard_normal((2, 6)) * 0.3 + 0.1 * rng.standard_normal((500, 6)))
    shifted = x * 1.3
    few = fit_linear(x[:300], y[:300], shifted[300:308], y[300:308])
    many = fit_linear_high(shifted[300:], y[300:])
    loc = [model(torch.as_tensor(shifted[300:])).mean.numpy() for model in (few, many)]
    assert np.sqrt(((loc[0] - y[300:]) ** 2).mean()) < 0.5
    assert np.sqrt(((loc[1] - y[300:]) ** 2).mean()) < 0.3


def test_translation_learns_an_affine_change_and_its_scatter():
    generator = new_generator(4)
    y = torch.randn(400, 2, generator=generator)
    low = y + 0.3 * torch.randn(400, 2, generator=generator)
    high = 1.2 * low - 0.5 * y + 1 + 0.1 * torch.randn(400, 2, generator=generator)
    step, predicted = fit_translation(low, high, y)
    torch.testing.assert_close(step.mean(low, y), 1.2 * low - 0.5 * y + 1, atol=0.05, rtol=0)
    torch.testing.assert_close((high - predicted).std(0), torch.full((2,), 0.1), atol=0.01, rtol=0)
    moved = translate(low, y, [step, step], generator)
    assert moved.shape == low.shape


def test_translation_predictions_leave_the_pair_out():
    low, y = draw(12)
    high = low + torch.randn(12, 2, generator=new_generator(9))
    _, predicted = fit_translation(low, high, y)
    changed = high.clone()
    changed[0] += 0.01
    _, again = fit_translation(low, changed, y)
    # only through the penalty could its own upper member matter
    torch.testing.assert_close(again[0], predicted[0], atol=1e-4, rtol=0)
    assert not torch.equal(again[1], predicted[1])


def test_training_summaries_become_like_fresh_ones():
    generator = new_generator(5)
    y = torch.randn(3000, 2, generator=generator)
    normal = torch.randn(3000, 2, generator=generator)
    known, fresh = y + 0.2 * normal, 0.9 * y + 0.5 * normal.flip(0)
    t = freshen(known, y, fresh[:1000], y[:1000])
    torch.testing.assert_close((t - 0.9 * y).std(0), torch.full((2,), 0.5), atol=0.03, rtol=0)
    torch.testing.assert_close((t - 0.9 * y).mean(0), torch.zeros(2), atol=0.05, rtol=0)


# --- posteriors


def test_mixture_is_the_mean_of_densities():
    x, y = draw(5)
    members = [Shift(0.0), Shift(1.0)]
    mixture = Posterior(members, "maps").log_prob(y, x)
    expected = torch.stack([m(x).log_prob(y).exp() for m in members]).mean(0).log()
    torch.testing.assert_close(mixture.float(), expected)


def test_samples_follow_the_mixture_and_the_seed():
    x = torch.zeros(1, 2)
    posterior = Posterior([Shift(-3.0), Shift(3.0)], "maps")
    samples = posterior.sample(4000, x, seed=1)
    assert samples.shape == (4000, 1, 2)
    assert torch.equal(samples, posterior.sample(4000, x, seed=1))
    assert abs(float((samples[..., 0] > 0).double().mean()) - 0.5) < 0.03
    # members are mixed along the chain
    assert abs(float((samples[:2000, :, 0] > 0).double().mean()) - 0.5) < 0.05


def test_physical_density_of_the_prior_is_the_prior():
    prior = Prior(
        {
            "a": {"prior": "uniform", "min": 1.0, "max": 3.0},
            "b": {"prior": "normal", "mean": 0.0, "sd": 2.0},
        }
    )
    theta = np.array([[1.5, 0.3], [2.9, -4.0]])
    posterior = Posterior([StandardNormal(n_parameters=2)], "maps")
    drawn = sample_theta(posterior, torch.zeros(2, 1), theta, prior, n_samples=50, seed=1)
    assert drawn["samples"].shape == (2, 50, 2)
    np.testing.assert_allclose(drawn["log_prob_truth"], drawn["log_prior_truth"], atol=1e-9)
    np.testing.assert_allclose(
        drawn["log_prob_samples"], prior.log_prob(drawn["samples"]), atol=1e-6
    )


# --- methods


@pytest.mark.parametrize("ladder", [["a", "b"], ["a", "b", "c"]])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_and_survives_the_file(name, ladder, tmp_path):
    if METHODS[name].observable == "maps":
        x, y = make_maps(24)
        pairs = [Pairs(tier, x[:8], 1.1 * x[:8], y[:8]) for tier in ladder[1:]]
    else:
        y = torch.randn(24, 2, generator=new_generator(2)).double()
        x = torch.cat([torch.exp(0.3 * y), torch.exp(-0.2 * y)], dim=1)
        x = x * (1 + 0.1 * torch.rand(24, 4, generator=new_generator(3)))
        pairs = [Pairs(tier, x[:8], 1.1 * x[:8], y[:8]) for tier in ladder[1:]]
    start = make_network()
    before = copy.deepcopy(start.state_dict())
    posterior, history = fit_method(name, Data(ladder, x, y, x, y, pairs), start, SETTINGS)
    assert all(torch.equal(before[key], value) for key, value in start.state_dict().items())
    if name in ("high_only", "transfer", "mlmc", "paired"):
        assert {"member", "epoch", "train", "validation"} == set(history[0])
    log_prob = posterior.log_prob(y, x)
    assert torch.isfinite(log_prob).all()
    save_model(tmp_path / "model.pt", *posterior.to_state())
    again = Posterior.from_state(*load_model(tmp_path / "model.pt"))
    assert torch.equal(again.log_prob(y, x), log_prob)
    assert torch.equal(again.sample(7, x, seed=3), posterior.sample(7, x, seed=3))


def test_unknown_method():
    with pytest.raises(ConfigError, match="no method 'magic'"):
        fit_method("magic", Data([], *draw(2), *draw(2), []), make_network(), SETTINGS)


def test_evaluation_is_deterministic():
    model = make_network().eval()
    x, y = make_maps(4)
    assert torch.equal(model(x).log_prob(y.float()), model(x).log_prob(y.float()))


def test_paired_removes_a_shift_that_few_pairs_show():
    t, y = draw(400)
    low, y_pairs = draw(12, seed=1)
    flow = Shift()
    # the pretrained head is right for the low tier: mean t / 2 is beyond Shift, so only its shift
    # counts, and high-fidelity summaries lie 2 off
    pairs = [Pairs("high", low, low + 2.0, y_pairs)]
    training = Training(max_epochs=80, batch_size=64, learning_rate=0.05, patience=20, clip_norm=5)
    heads, history = fit_paired_heads(
        flow,
        (t, y),
        draw(100, seed=2),
        pairs,
        split_folds(12, SETTINGS),
        tier="low",
        training=training,
        seed=1,
    )
    assert len(heads) == 2 and history
    for head in heads:
        torch.testing.assert_close(head.shift.detach(), torch.full((2,), -2.0), atol=0.25, rtol=0)
