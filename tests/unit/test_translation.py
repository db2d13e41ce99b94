"""Ridge regressions, translations between tiers, and the coefficients measured from pairs."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import Independent, Normal

from mflens import ridge
from mflens.errors import ConfigError
from mflens.infer.losses import Pairs, nll
from mflens.infer.paired import Fidelities, Ladder, fit_paired, measure_beta
from mflens.infer.replicas import FlowReplicas
from mflens.infer.training import Training
from mflens.infer.translation import (
    fit_translation,
    freshen,
    linear,
    noise_scales,
    quadratic,
    shrunk_covariance,
    translate,
)
from mflens.ridge import PENALTIES, fit_offset, fit_ridge, residual_covariance
from mflens.seeding import new_generator, seeded


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=new_generator(seed))


# --- ridge


def standardise(x):
    return (x - x.mean(0)) / (x.std(0) + 1e-12)


def leave_one_out(x, y, penalty):
    """Return residuals of regressions that leave out one sim each, by brute force."""
    z, residual = standardise(x).numpy(), []
    for i in range(len(z)):
        rest = np.arange(len(z)) != i
        a, b = z[rest] - z[rest].mean(0), y[rest] - y[rest].mean(0)
        weight = np.linalg.solve(a.T @ a + len(z) * penalty * np.eye(z.shape[1]), a.T @ b)
        residual.append(y[i] - y[rest].mean(0) - (z[i] - z[rest].mean(0)) @ weight)
    return np.array(residual)


@pytest.mark.parametrize("penalty", [1e-3, 0.3, 1e12])
@pytest.mark.parametrize("shape", [(12, 3), (6, 9)])
def test_leave_one_out_residuals_agree_with_brute_force(penalty, shape, monkeypatch):
    monkeypatch.setattr(ridge, "PENALTIES", (penalty,))
    x, y = draw(*shape).double() * 3 + 1, draw(shape[0], 2, seed=1).double()
    expected = leave_one_out(x, y.numpy(), penalty)
    np.testing.assert_allclose(fit_ridge(x, y).residual, expected, rtol=1e-5, atol=1e-7)


def test_every_output_has_the_penalty_that_predicts_left_out_sims_best():
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = draw(40, 5).double() * torch.tensor([1, 10, 0.1, 1, 1])
    y = torch.stack([x[:, 0] + 0.1 * draw(40, seed=1), draw(40, seed=2) + 4], dim=1)
    found, chosen = fit_ridge(x, y), []
    for i in range(2):
        errors = [(leave_one_out(x, y[:, [i]].numpy(), p) ** 2).mean() for p in PENALTIES]
        chosen.append(PENALTIES[int(np.argmin(errors))])
        model = linear_model.Ridge(alpha=40 * chosen[i]).fit(standardise(x), y[:, i])
        expected = model.predict(standardise(x))
        np.testing.assert_allclose(found.predict(x)[:, i], expected, atol=1e-8)
        np.testing.assert_allclose((found.residual[:, i] ** 2).mean(), min(errors))
    assert chosen[0] < 0.05 < chosen[1]


def test_replicas_of_ridges_are_single_ones():
    x, y = draw(3, 15, 4), draw(3, 15, 2, seed=1)
    together, offsets = fit_ridge(x, y), fit_offset(y)
    for r in range(3):
        alone = fit_ridge(x[r], y[r])
        for name in ("weight", "offset", "residual"):
            torch.testing.assert_close(getattr(together, name)[r], getattr(alone, name))
        torch.testing.assert_close(offsets.offset[r, 0], y[r].mean(0))
        torch.testing.assert_close(
            offsets.residual[r, 4], y[r, 4] - y[r, torch.arange(15) != 4].mean(0)
        )


def test_residual_covariance_needs_enough_sims():
    with pytest.raises(ConfigError, match="4 high-fidelity sims cannot give the covariance of 2"):
        residual_covariance(torch.ones(4, 2))
    inverse = torch.linalg.inv(residual_covariance(draw(8000, 8, 2, seed=2))).mean(0)
    torch.testing.assert_close(inverse, torch.eye(2), atol=0.1, rtol=0)


def test_shrunk_covariance_is_positive_definite_with_one_sim():
    covariance = shrunk_covariance(draw(5, 1, 3))
    assert torch.linalg.eigvalsh(covariance).min() > 0
    torch.testing.assert_close(shrunk_covariance(draw(100_000, 2)), torch.eye(2), atol=0.02, rtol=0)


# --- translations


def uniform(y):
    """Return uniform parameters of unit variance, in which translations are linear."""
    return linear(y[..., :0], y)


def mean_high(low, y):
    return 1.2 * low - 0.5 * uniform(y) + 1


def noise_sd(y):
    return 0.1 * torch.exp(0.6 * uniform(y)[..., :1])


def make_pairs(n, *replicas, seed=4):
    generator = new_generator(seed)
    y, one, two = (torch.randn(*replicas, n, 2, generator=generator) for _ in range(3))
    low = y + 0.3 * one
    return Pairs("high", low, mean_high(low, y) + noise_sd(y) * two, y)


def test_translation_learns_a_linear_map_and_how_its_scatter_varies():
    step, predicted = fit_translation(make_pairs(1000))
    new = make_pairs(2000, seed=5)
    expected = mean_high(new.low, new.y)
    # the worst of 2000 sims lies 3 sigma out
    assert (step.mean(new.low, new.y) - expected).abs().max() < 0.1
    assert (step.mean(new.low, new.y) - expected).std() < 0.02
    root = torch.diagonal(step.root @ step.root.mT).sqrt()
    ratio = step.noise_sd(new.low, new.y) * root / noise_sd(new.y)
    assert 0.9 < ratio.median() < 1.1 and ratio.log().std() < 0.2
    # drawn sims are as far from the mean as those of the upper tier
    noise = step.draw(new.low, new.y, new_generator(1)) - expected
    scatter = ((new.high - expected) / noise_sd(new.y), noise / noise_sd(new.y))
    torch.testing.assert_close(*(s.std(0).double() for s in scatter), rtol=0.1, atol=0)
    assert abs((make_pairs(1000).high - predicted).mean()) < 0.02


def test_broken_pairs_make_translation_noise_grow():
    pairs = make_pairs(400)
    order = torch.randperm(400, generator=new_generator(3))
    # low members with the right parameters but other sims' random numbers
    low = pairs.y + (pairs.low - pairs.y)[order]
    broken = Pairs("high", low, pairs.high, pairs.y)
    sd = []
    for case in (pairs, broken):
        step, _ = fit_translation(case)
        sd.append(float((step.noise(case.low, case.y, new_generator(1))).std()))
    assert sd[1] > 1.8 * sd[0]


def test_quadratic_features_are_taken_where_they_predict_better():
    low, y = draw(300, 1), draw(300, 1, seed=1)
    curved = Pairs("high", low, low + uniform(y) ** 2, y)
    step, _ = fit_translation(curved)
    torch.testing.assert_close(step.mean(low, y), curved.high, atol=0.05, rtol=0)
    assert quadratic(torch.tensor([[2.0, 3.0]])).tolist() == [[2, 3, 4, 6, 9]]


def test_translation_predictions_leave_the_pair_out():
    low, y = draw(12, 2), draw(12, 2, seed=1)
    high = low + draw(12, 2, seed=9)
    changed = high.clone()
    changed[0] += 0.01
    predicted, again = (fit_translation(Pairs("high", low, h, y))[1] for h in (high, changed))
    # only through the penalty could its own upper member matter
    torch.testing.assert_close(again[0], predicted[0], atol=1e-4, rtol=0)
    assert not torch.equal(again[1], predicted[1])


def test_replicas_of_translations_are_single_ones():
    pairs = make_pairs(20, 3)
    together, predicted = fit_translation(pairs)
    for r in range(3):
        low, y = pairs.low[r], pairs.y[r]
        alone, left_out = fit_translation(Pairs("high", low, pairs.high[r], y))
        torch.testing.assert_close(predicted[r], left_out, atol=1e-4, rtol=1e-4)
        mean, sd = together.mean(pairs.low, pairs.y), together.noise_sd(pairs.low, pairs.y)
        torch.testing.assert_close(mean[r], alone.mean(low, y), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(sd[r], alone.noise_sd(low, y), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_pairs", [2, 6, 40])
def test_noise_has_the_tails_of_student_t(n_pairs):
    freedom = max(n_pairs - 1, 3)
    scales = noise_scales(n_pairs)
    index = torch.randint(len(scales), (20_000,), generator=new_generator(1))
    noise = scales[index] * draw(20_000, seed=2)
    assert stats.kstest(noise.numpy(), stats.t(freedom).cdf).pvalue > 0.01
    if freedom < 10:
        assert stats.kstest(noise.numpy(), stats.norm.cdf).pvalue < 1e-4


def test_steps_of_a_ladder_add_up():
    pairs = make_pairs(400)
    step, _ = fit_translation(pairs)
    generator = new_generator(1)
    moved = translate(pairs.low, pairs.y, [step, step], generator)
    twice = mean_high(mean_high(pairs.low, pairs.y), pairs.y)
    assert (moved - twice).abs().median() < 0.3


def test_training_summaries_become_like_fresh_ones():
    y, normal = draw(3000, 2), draw(3000, 2, seed=1)
    known, fresh = y + 0.2 * normal, 0.9 * y + 0.5 * normal.flip(0)
    t = freshen(known, y, fresh[:1000], y[:1000])
    torch.testing.assert_close((t - 0.9 * y).std(0), torch.full((2,), 0.5), atol=0.03, rtol=0)
    torch.testing.assert_close((t - 0.9 * y).mean(0), torch.zeros(2), atol=0.05, rtol=0)


# --- coefficients and the method


class Identity(nn.Module):
    """y ~ N(x, 1)."""

    def forward(self, x):
        return Independent(Normal(x, torch.ones_like(x)), 1)


def beta_of(low, high, y, n_bulk, n_folds=1):
    return measure_beta(
        Identity(), [lambda _: Pairs("high", low, high, y)], n_bulk, n_folds, new_generator(0)
    )[0]


def test_beta_is_one_for_identical_and_zero_for_independent_members():
    n, y = 4000, draw(2, 4000, 2)
    high, other = draw(2, n, 2, seed=1), draw(2, n, 2, seed=2)
    same = beta_of(high, high, y, 10**9)
    torch.testing.assert_close(same, torch.ones(2), atol=1e-5, rtol=0)
    # the mean over as many bulk sims as pairs is as uncertain as what it corrects
    torch.testing.assert_close(beta_of(high, high, y, n), torch.full((2,), 0.5))
    # other parameters, so that the losses have nothing in common
    shifted = beta_of(other + y, high + y.flip(1), y, 10**9)
    assert shifted.max() < 0.06


def test_folds_share_their_coefficients():
    y, high, other = draw(4, 50, 2), draw(4, 50, 2, seed=1), draw(4, 50, 2, seed=2)
    beta = beta_of(0.7 * high + 0.7 * other, high, y, 1000, n_folds=2)
    assert beta[0] == beta[1] and beta[2] == beta[3] and beta[0] != beta[2]


def make_ladder(estimator):
    with seeded(1):
        low = FlowReplicas(
            n_replicas=2,
            n_target=2,
            n_context=2,
            flow={"transforms": 1, "hidden_features": 8, "bins": 4},
            estimator=estimator,
        )
    return low, [make_pairs(30, 2, seed=1), make_pairs(20, 2, seed=2)]


@pytest.mark.parametrize("estimator", ["NPE", "NLE"])
def test_ladder_carries_both_members_to_the_top_with_the_same_noise(estimator):
    low, pairs = make_ladder(estimator)
    ladder = Ladder(low, pairs, latent=estimator == "NLE")
    x, y = pairs[0].low, pairs[0].y
    torch.testing.assert_close(ladder.decode(ladder.encode(x, y), y), x, atol=1e-4, rtol=1e-4)
    level = ladder.pairs[0]
    same = ladder.carry(0, level.high, level, new_generator(1))
    torch.testing.assert_close(same.low, same.high)
    # upper members of the top level are left as they are
    top = ladder.draw_pairs(1, new_generator(1))
    torch.testing.assert_close(top.high, pairs[1].high, atol=1e-4, rtol=1e-4)
    assert torch.equal(top.y, pairs[1].y)


@pytest.mark.parametrize("estimator", ["NPE", "NLE"])
def test_paired_moves_the_low_flow_to_the_high_fidelity(estimator):
    low, pairs = make_ladder(estimator)
    top, new, held_out = pairs[1], make_pairs(400, 2, seed=3), make_pairs(20, 2, seed=4)
    training = Training(max_epochs=8, batch_size=100, learning_rate=0.02, patience=5, clip_norm=5.0)
    bulk, held_out_bulk = ((p.low, p.y) for p in (new, make_pairs(100, 2, seed=5)))
    sims = Fidelities("low", bulk, held_out_bulk, [top], held_out)
    before = {key: value.clone() for key, value in low.state_dict().items()}
    options = {"latent": estimator == "NLE", "n_folds": 2, "seed": 1, "name": "t"}
    fit_here = partial(fit_paired, low, sims, training, training, **options)
    (flows, history), (again, _) = fit_here(), fit_here()
    assert all(torch.equal(before[key], value) for key, value in low.state_dict().items())
    for one, two in zip(flows.weights, again.weights, strict=True):
        assert torch.equal(one, two)
    assert history and {"epoch", "train", "validation"} == set(history[0])
    with torch.no_grad():
        old, found = (nll(model, new.high, new.y).mean(-1) for model in (low, flows))
    assert (found < old - 0.3).all()
