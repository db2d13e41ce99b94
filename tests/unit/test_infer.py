"""The training loop, linear baselines, posteriors and methods of the lensing run."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from mflens.errors import ConfigError, TrainingError
from mflens.files.io import load_model, save_model
from mflens.infer.linear import fit_linear, fit_linear_high
from mflens.infer.losses import Adjustment, MlmcObjective, Pairs, PlainObjective, nll
from mflens.infer.methods import METHODS, Data, Settings, fit_method, pretrain
from mflens.infer.posterior import CompressorFlow, Posterior, StandardNormal, sample_theta
from mflens.infer.training import Training, fit
from mflens.prior import Prior
from mflens.seeding import new_generator, seeded

TRAINING = Training(max_epochs=3, batch_size=8, learning_rate=1e-3, patience=3, clip_norm=5.0)
SETTINGS = Settings(TRAINING, TRAINING, 2, torch.device("cpu"), 1)


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


# --- training loop


def test_telescoping_sum_is_the_plain_loss_if_all_levels_are_the_same():
    x, y = draw(32)
    model = Shift(0.3)
    pairs = [Pairs(tier, x[:8], x[:8], y[:8]) for tier in ("middle", "high")]
    unbiased = Adjustment(rescale=False, project=False)
    mlmc = MlmcObjective(model, x, y, pairs, tier="low", batch_size=32, adjustment=unbiased)
    losses = mlmc.backward(next(mlmc.batches(new_generator(1))))
    gradient = model.shift.grad.clone()
    assert losses["middle"] == losses["high"] == 0
    model.zero_grad()
    nll(model, x, y).mean().backward()
    torch.testing.assert_close(gradient, model.shift.grad)
    assert losses["low"] == pytest.approx(float(nll(model, x, y).mean().detach()), rel=1e-6)


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
    bulk = bad if broken == "low" else x
    objective = MlmcObjective(
        model, bulk, y, pairs, tier="low", batch_size=16, adjustment=Adjustment()
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


# --- linear baselines


def test_linear_falls_back_to_an_offset_with_few_sims():
    generator = new_generator(3)
    y, weight = (torch.randn(n, 2, generator=generator).double() for n in (500, 6))
    x = torch.exp(0.3 * y @ weight.T + 0.1 * torch.randn(500, 6, generator=generator))
    shifted = x * 1.3
    few = fit_linear(x[:300], y[:300], shifted[300:308], y[300:308])
    many = fit_linear_high(shifted[300:], y[300:])
    error = [(model(shifted[300:]).mean - y[300:]).square().mean().sqrt() for model in (few, many)]
    assert error[0] < 0.5 and error[1] < 0.3


def test_linear_needs_more_sims_than_parameters():
    x, y = (torch.randn(4, n, generator=new_generator(n)).double() for n in (6, 2))
    with pytest.raises(ConfigError, match="4 high-fidelity sims cannot .* at least 5"):
        fit_linear_high(x, y)


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
    if name == "paired":
        # its two steps follow each other
        assert [row["epoch"] for row in history] == list(range(len(history)))
        assert {row["member"] for row in history} == {0, 1}
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


@pytest.mark.parametrize("name", ["high_only", "transfer", "mlmc", "paired"])
def test_too_few_sims_for_the_folds(name):
    x, y = make_maps(6)
    pairs = [Pairs("b", x[:3], x[:3], y[:3])]
    with pytest.raises(ConfigError, match="3 sims of b are too few for 2 folds; .* at least 4"):
        fit_method(name, Data(["a", "b"], x, y, x, y, pairs), make_network(), SETTINGS)


def test_paired_learns_a_change_of_amplitude_that_few_pairs_show():
    x, y = make_maps(300)
    start, training = make_network(), replace(TRAINING, max_epochs=12, learning_rate=1e-2)
    sims = (x[:200], y[:200].float()), (x[200:], y[200:].float())
    pretrain(start, *sims, tier="a", training=training, device=torch.device("cpu"), seed=1)
    x_high, y_high = make_maps(100, seed=7)
    pairs = [Pairs("b", x_high[:12], 1.25 * x_high[:12], y_high[:12])]
    data = Data(["a", "b"], x[:200], y[:200], x[200:], y[200:], pairs)
    settings = replace(SETTINGS, training=training, correction=replace(training, max_epochs=3))
    score = {
        name: float(
            fit_method(name, data, start, settings)[0]
            .log_prob(y_high[12:], 1.25 * x_high[12:])
            .mean()
        )
        for name in ("low_only", "paired")
    }
    assert score["paired"] > score["low_only"] + 0.3
