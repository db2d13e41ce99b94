"""A linear-Gaussian toy with two fidelities, whose posteriors are known exactly.

    x_high = A theta + noise,    x_low = B theta + offset + C noise + a little of its own noise

with theta ~ N(0, 1). Both members of a pair share theta and noise.
"""

from functools import cache

import numpy as np
import pytest
import torch
import zuko
from torch import nn

from mflens.evaluate import posterior as evaluate
from mflens.infer.losses import Adjustment, MlmcObjective, Pairs, PlainObjective, mean_nll
from mflens.infer.tasks import TaskData, TaskSettings, fit_methods
from mflens.infer.training import Training, fit
from mflens.seeding import new_generator, seeded

A = torch.tensor([[1.0, 0.3], [-0.2, 0.8], [0.5, 0.5]])
B = torch.tensor([[0.9, 0.35], [-0.15, 0.9], [0.45, 0.45]])
OFFSET = torch.tensor([0.2, -0.15, 0.1])
NOISE, OWN = 0.5, 0.05
TRAINING = Training(max_epochs=150, batch_size=512, learning_rate=2e-3, patience=25, clip_norm=5.0)


def draw(*shape, seed):
    """Return parameters and data of both fidelities, with shared noise."""
    generator = new_generator(seed)
    y = torch.randn(*shape, 2, generator=generator)
    noise = NOISE * torch.randn(*shape, 3, generator=generator)
    own = OWN * torch.randn(*shape, 3, generator=generator)
    return y, y @ B.T + OFFSET + 0.9 * noise + own, y @ A.T + noise


def exact_posterior(x):
    """Return mean and covariance of the high-fidelity posterior."""
    covariance = torch.linalg.inv(torch.eye(2) + A.T @ A / NOISE**2)
    return torch.distributions.MultivariateNormal(
        x @ A @ covariance / NOISE**2, covariance_matrix=covariance
    )


class Network(nn.Module):
    """A linear compressor and a Gaussian flow head, which can hold the exact posterior."""

    def __init__(self, seed):
        super().__init__()
        with seeded(seed):
            self.compressor = nn.Linear(3, 2)
            self.flow = zuko.flows.NSF(2, 2, transforms=1, bins=6, hidden_features=[32, 32])

    def forward(self, x):
        return self.flow(self.compressor(x))


@torch.no_grad()
def mean_kl(model, seed=99):
    """Return KL(exact || model) averaged over test data, in nats."""
    _, _, x = draw(300, seed=seed)
    exact = exact_posterior(x)
    with seeded(1):
        y = exact.sample((400,))
    log_ratio = exact.log_prob(y) - torch.stack([model(x).log_prob(part) for part in y])
    return float(log_ratio.mean())


def validation_loss(model):
    y, _, x = draw(2000, seed=98)
    return lambda: mean_nll(model, x, y, 2000)


def train_mlmc(pairs_order):
    y_bulk, x_bulk, _ = draw(20000, seed=1)
    y, low, high = draw(4000, seed=2)
    pairs = Pairs("high", low[pairs_order], high, y)
    model = Network(1)
    plain = PlainObjective(model, x_bulk, y_bulk, tier="low", batch_size=512)
    validate = validation_loss(model)
    fit(model, plain, validate, TRAINING, generator=new_generator(1), name="low")
    # the unbiased objective: the published gradient adjustment moves its optimum
    objective = MlmcObjective(
        *(model, x_bulk, y_bulk, [pairs]),
        tier="low",
        batch_size=2000,
        adjustment=Adjustment(rescale=False, project=False),
    )
    fit(model, objective, validate, TRAINING, generator=new_generator(2), name="mlmc")
    return model


@pytest.mark.slow
def test_npe_recovers_the_exact_posterior():
    y, _, x = draw(20000, seed=3)
    model = Network(1)
    objective = PlainObjective(model, x, y, tier="high", batch_size=512)
    validate = validation_loss(model)
    fit(model, objective, validate, TRAINING, generator=new_generator(1), name="npe")
    assert mean_kl(model) < 0.02


@pytest.mark.slow
def test_mlmc_recovers_the_high_fidelity_posterior_and_covers():
    model = train_mlmc(torch.arange(4000))
    print("KL", mean_kl(model))
    assert mean_kl(model) < 0.02
    y, _, x = draw(400, seed=97)
    with torch.no_grad(), seeded(1):
        samples = model(x).sample((500,))
        log_prob = model(x).log_prob(samples).T.numpy()
        truth = model(x).log_prob(y).numpy()
    scores = evaluate.score_posterior(
        y.numpy(),
        samples.numpy().swapaxes(0, 1),
        log_prob,
        truth,
        torch.distributions.Normal(0, 1).log_prob(y).sum(-1).numpy(),
        names=["a", "b"],
        rng=np.random.default_rng(1),
    )
    for level in (50, 68, 90, 95):
        error = (level / 100 * (1 - level / 100) / 400) ** 0.5
        assert abs(scores[f"coverage_{level}"] - level / 100) < 3.5 * error
    assert scores["tarp_error"] < scores["tarp_null_95"]


@pytest.mark.slow
def test_mlmc_fails_when_the_pairing_is_broken():
    broken = torch.randperm(4000, generator=new_generator(5))
    model = train_mlmc(broken)
    print("KL", mean_kl(model))
    assert mean_kl(model) > 0.05


# --- all methods of the published tasks, all repetitions at once

REPETITIONS = 4
SETTINGS = TaskSettings(
    flow={"transforms": 1, "hidden_features": 32, "bins": 5},
    training={
        "max_epochs": 40,
        "batch_size": 200,
        "learning_rate": 3e-3,
        "patience": 6,
        "clip_norm": 5.0,
    },
    correction={"max_epochs": 20, "learning_rate": 3e-4},
    mlmc={},
    n_folds=4,
    n_summaries=0,
    latent=False,
    seed=1,
)


@cache
def mean_excess(estimator, broken):
    """Return by method KL(exact || learned) of every repetition, averaged over test sims, nats.

    A broken pair's members share the parameters, but not the random numbers.
    """
    y_bulk, x_bulk, _ = draw(REPETITIONS, 4000, seed=1)
    y, low, high = draw(REPETITIONS, 100, seed=2)
    if broken:
        noiseless = y @ B.T + OFFSET
        order = torch.randperm(100, generator=new_generator(5))
        low = noiseless + (low - noiseless)[:, order]
    pairs = [Pairs("high", low, high, y)]
    data = TaskData(estimator, ["low", "high"], (x_bulk, y_bulk), pairs)
    estimates, _ = fit_methods(data, ["high_only", "paired"], SETTINGS)
    y_test, _, x_test = draw(REPETITIONS, 1000, seed=99)
    if estimator == "NPE":
        target, context, exact = y_test, x_test, exact_posterior(x_test).log_prob(y_test)
    else:
        likelihood = torch.distributions.Normal(y_test @ A.T, NOISE)
        target, context, exact = x_test, y_test, likelihood.log_prob(x_test).sum(-1)
    return {
        name: (exact - estimate.log_prob(target, context)).mean(1)
        for name, estimate in estimates.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["NPE", "NLE"])
def test_paired_comes_close_to_the_exact_answer(estimator):
    found = mean_excess(estimator, broken=False)
    print(estimator, found)
    assert (found["paired"] < 0.05).all()
    assert (found["paired"] < found["high_only"] - 0.2).all()


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["NPE", "NLE"])
def test_paired_gets_worse_when_the_pairing_is_broken(estimator):
    sound, broken = (mean_excess(estimator, broken=broken)["paired"] for broken in (False, True))
    print(estimator, sound, broken)
    # so much that the test above would fail
    assert (broken > 0.05).all()
    difference = broken - sound
    assert difference.mean() > 5 * difference.std() / REPETITIONS**0.5
