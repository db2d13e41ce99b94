"""Replicas of flows: all at once are the same as one by one, in density, training, gradients."""

import pytest
import torch
import zuko
from torch import nn

from mflens.errors import TrainingError
from mflens.infer import replicas
from mflens.infer.losses import (
    Adjustment,
    MlmcObjective,
    Pairs,
    PlainObjective,
    adjust_gradients,
    nll,
    shuffled,
    weigh_levels,
)
from mflens.infer.replicas import FlowReplicas, take
from mflens.infer.training import Training, clip_gradients, fit, fit_without_validation
from mflens.seeding import new_generator, seeded

N_REPLICAS, N = 3, 12
FLOW = {"transforms": 2, "hidden_features": 8, "bins": 4}
TRAINING = Training(max_epochs=20, batch_size=64, learning_rate=0.02, patience=2, clip_norm=0.5)
FULL, NONE = Adjustment(), Adjustment(rescale=False, project=False)


def make_flows(n_target=2, n_context=2, estimator="NPE"):
    with seeded(1):
        return FlowReplicas(
            n_replicas=N_REPLICAS,
            n_target=n_target,
            n_context=n_context,
            flow=FLOW,
            estimator=estimator,
        )


def single(flows, replica, spread=1.0):
    """Return one replica as a flow of zuko."""
    n_target, n_context = (flows.arguments[key] for key in ("n_target", "n_context"))
    flow = zuko.flows.NSF(n_target, n_context, transforms=2, bins=4, hidden_features=[8, 8])
    flows.to_flow(flow, replica, spread)
    return flow


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=new_generator(seed))


# --- densities


@pytest.mark.parametrize("spread", [1.0, 1.7])
def test_log_prob_is_that_of_single_flows(spread):
    flows, y, x = make_flows(), draw(N_REPLICAS, N, 2), draw(N_REPLICAS, N, 2, seed=1)
    together = flows.log_prob(y, x, torch.full((N_REPLICAS,), spread))
    for r in range(N_REPLICAS):
        torch.testing.assert_close(together[r], single(flows, r, spread)(x[r]).log_prob(y[r]))
    torch.testing.assert_close(flows.log_prob(y, x, torch.ones(N_REPLICAS)), flows.log_prob(y, x))


def test_rows_are_evaluated_in_parts(monkeypatch):
    flows, y, x = make_flows(), draw(N_REPLICAS, N, 2), draw(N_REPLICAS, N, 2, seed=1)
    whole = flows.log_prob(y, x)
    monkeypatch.setattr(replicas, "MAX_ROWS", 5 * N_REPLICAS)
    torch.testing.assert_close(flows.log_prob(y, x), whole)


def test_latent_round_trip():
    flows, y, x = make_flows(), draw(N_REPLICAS, N, 2), draw(N_REPLICAS, N, 2, seed=1)
    z = flows.to_latent(y, x)
    assert (z - y).abs().max() > 0.01
    torch.testing.assert_close(flows.from_latent(z, x), y, atol=1e-4, rtol=0)


def test_estimator_says_what_is_target():
    x, y = draw(N_REPLICAS, N, 3), draw(N_REPLICAS, N, 2, seed=1)
    npe, nle = make_flows(2, 3, "NPE"), make_flows(3, 2, "NLE")
    torch.testing.assert_close(nll(npe, x, y), -npe.log_prob(y, x))
    torch.testing.assert_close(nll(nle, x, y), -nle.log_prob(x, y))


def test_density_integrates_to_one_at_any_spread():
    flows, grid = make_flows(1, 1), torch.linspace(-12, 12, 4001)
    y = grid[None, :, None].expand(N_REPLICAS, -1, 1)
    context = draw(N_REPLICAS, 1, 1).expand_as(y)
    q = flows.log_prob(y, context, torch.tensor([0.6, 1.0, 1.8])).exp()
    torch.testing.assert_close(torch.trapezoid(q, grid), torch.ones(N_REPLICAS), atol=2e-3, rtol=0)


def test_selected_replicas_are_those():
    flows, y, x = make_flows(), draw(N_REPLICAS, N, 2), draw(N_REPLICAS, N, 2, seed=1)
    selected = flows.select(slice(1, None, 2))
    torch.testing.assert_close(selected.log_prob(y[1:2], x[1:2]), flows.log_prob(y, x)[1:2])
    assert selected.arguments["n_replicas"] == 1
    assert flows.arguments["n_replicas"] == len(flows.weights[0]) == N_REPLICAS


def test_replicas_survive_their_state():
    flows, y, x = make_flows(), draw(N_REPLICAS, N, 2), draw(N_REPLICAS, N, 2, seed=1)
    again = FlowReplicas.from_state(flows.state_dict(), flows.arguments)
    assert torch.equal(again.log_prob(y, x), flows.log_prob(y, x))


def test_replicas_of_one_flow_are_its_copies():
    y, x = draw(1, N, 2).expand(N_REPLICAS, -1, -1), draw(N, 2, seed=1)
    flow = single(make_flows(), 1)
    flows = FlowReplicas.from_flow(flow, make_flows().arguments)
    for log_q in flows.log_prob(y, x.expand_as(y)):
        torch.testing.assert_close(log_q, flow(x).log_prob(y[0]))


def test_a_copy_has_weights_of_its_own():
    flows = make_flows()
    copied = flows.copy()
    copied.weights[0].data.zero_()
    assert flows.weights[0].abs().max() > 0


def test_every_replica_takes_its_own_rows_and_order():
    a = draw(2, 5, 3)
    index = torch.tensor([[4, 0], [1, 1]])
    assert torch.equal(take(a, index), torch.stack([a[0, [4, 0]], a[1, [1, 1]]]))
    orders = torch.cat(list(shuffled(draw(2, 50, 1), 8, new_generator(1))), dim=-1)
    assert torch.equal(orders.sort().values, torch.arange(50).expand(2, -1))
    assert not torch.equal(*orders)


# --- training


class Track(nn.Module):
    """One position for each replica."""

    def __init__(self):
        super().__init__()
        self.position = nn.Parameter(torch.zeros(N_REPLICAS))


class March:
    """Move every replica by one learning rate."""

    def __init__(self, module):
        self.module = module

    def batches(self, generator):
        yield [torch.zeros(1)]

    def backward(self, batch):
        self.module.position.grad = -torch.ones(N_REPLICAS)
        return {"low": torch.zeros(N_REPLICAS)}


def test_every_replica_keeps_the_best_weights_before_its_own_stop():
    losses = [
        [5, 4, 3, 9, 9, 9, 1, 1, 9, 9],  # stops at 5 and never sees the 1
        [5, 9, 9, 4, 9, 9, 3, 9, 9, 9],  # recovers twice in time
        [5, 9, 9, 9, 1, 1, 1, 1, 1, 1],  # stops before it moves
    ]
    table = iter(torch.tensor(losses, dtype=torch.float64).T)
    module = Track()
    training = Training(max_epochs=99, batch_size=1, learning_rate=1.0, patience=3, clip_norm=5.0)
    validate = lambda: next(table)  # noqa: E731
    history = fit(module, March(module), validate, training, generator=new_generator(0), name="t")
    torch.testing.assert_close(module.position.detach(), torch.tensor([2.0, 6.0, 0.0]))
    assert len(history) == 1 + 9


def test_without_validation_the_last_weights_stay():
    module = Track()
    training = Training(max_epochs=4, batch_size=1, learning_rate=1.0, patience=1, clip_norm=5.0)
    history = fit_without_validation(
        module, March(module), training, generator=new_generator(0), name="t"
    )
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    torch.testing.assert_close(module.position.detach(), torch.full((N_REPLICAS,), 4.0))


def test_training_together_is_training_one_by_one():
    x, y = draw(N_REPLICAS, 30, 2), draw(N_REPLICAS, 30, 2, seed=1)
    flows = make_flows()
    parts = [flows.select(slice(r, r + 1)).copy() for r in range(N_REPLICAS)]
    epochs = []
    for model, chosen in [
        (flows, slice(None)),
        *((part, slice(r, r + 1)) for r, part in enumerate(parts)),
    ]:
        held_out, train = (x[chosen, :10], y[chosen, :10]), (x[chosen, 10:], y[chosen, 10:])
        history = fit(
            model,
            PlainObjective(model, *train, tier="low", batch_size=64),
            lambda model=model, held_out=held_out: nll(model, *held_out).mean(-1),
            TRAINING,
            generator=new_generator(0),
            name="t",
        )
        epochs.append(len(history))
    # they stop at different epochs, the whole with the last
    assert len(set(epochs[1:])) > 1 and epochs[0] == max(epochs[1:])
    for r, part in enumerate(parts):
        for together, alone in zip(flows.weights, part.weights, strict=True):
            torch.testing.assert_close(together[r], alone[0], atol=1e-4, rtol=1e-3)


def test_gradients_are_clipped_replica_by_replica():
    flows = make_flows()
    for i, weight in enumerate(flows.weights):
        weight.grad = draw(*weight.shape, seed=i) * torch.tensor([0.01, 1.0, 9.0]).reshape(
            -1, *[1] * (weight.ndim - 1)
        )
    expected = []
    for r in range(N_REPLICAS):
        parameters = [nn.Parameter(w.detach()[r].clone()) for w in flows.weights]
        for parameter, weight in zip(parameters, flows.weights, strict=True):
            parameter.grad = weight.grad[r].clone()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        expected.append([parameter.grad for parameter in parameters])
    clip_gradients(flows, 5.0, 1)
    for r in range(N_REPLICAS):
        for weight, gradient in zip(flows.weights, expected[r], strict=True):
            torch.testing.assert_close(weight.grad[r], gradient)


@pytest.mark.parametrize("broken", ["low", "high"])
def test_one_replica_with_non_finite_sims_stops_with_level_and_step(broken):
    x, y = draw(N_REPLICAS, N, 2), draw(N_REPLICAS, N, 2, seed=1)
    bad = x.clone()
    bad[1, 3] = torch.inf
    pairs = [Pairs("high", x, bad if broken == "high" else x, y)]
    flows = make_flows()
    bulk = bad if broken == "low" else x
    objective = MlmcObjective(flows, bulk, y, pairs, tier="low", batch_size=N, adjustment=FULL)
    with pytest.raises(TrainingError, match=f"level {broken} is .* at step 1 of epoch 1"):
        fit_without_validation(flows, objective, TRAINING, generator=new_generator(0), name="t")


# --- gradients


def gradients(objective, model):
    """Return the gradient over all sims as one vector, (weight,) or (replica, weight)."""
    objective.backward(next(objective.batches(new_generator(1))))
    n_axes = int(isinstance(model, FlowReplicas))
    parts = [p.grad.reshape(*p.shape[:n_axes], -1) for p in model.parameters()]
    return torch.cat(parts, dim=-1)


@pytest.mark.parametrize("adjustment", [FULL, NONE])
def test_multilevel_gradients_are_those_of_single_runs(adjustment):
    x, y = draw(N_REPLICAS, N, 2), draw(N_REPLICAS, N, 2, seed=1)
    pairs = [Pairs("high", x[:, :6], x[:, :6] + 1.0, y[:, :6])]
    flows = make_flows()
    options = {"tier": "low", "batch_size": N, "adjustment": adjustment}
    together = gradients(MlmcObjective(flows, x, y, pairs, **options), flows)
    for r in range(N_REPLICAS):
        flow = single(flows, r)
        level = Pairs("high", x[r, :6], x[r, :6] + 1.0, y[r, :6])
        alone = gradients(MlmcObjective(flow, x[r], y[r], [level], **options), flow)
        torch.testing.assert_close(together[r], alone, atol=1e-5, rtol=1e-3)


def test_without_adjustment_the_gradient_is_that_of_the_unbiased_loss():
    x, y = draw(N_REPLICAS, N, 2), draw(N_REPLICAS, N, 2, seed=1)
    pairs = [
        Pairs("middle", x[:, :6], x[:, :6] + 1.0, y[:, :6]),
        Pairs("high", x[:, 6:9] + 1.0, x[:, 6:9] * 2, y[:, 6:9]),
    ]
    flows = make_flows()
    options = {"tier": "low", "batch_size": N, "adjustment": NONE}
    found = gradients(MlmcObjective(flows, x, y, pairs, **options), flows)
    flows.zero_grad()
    loss = nll(flows, x, y).mean(-1)
    for level in pairs:
        loss = loss + (nll(flows, level.high, level.y) - nll(flows, level.low, level.y)).mean(-1)
    loss.sum().backward()
    expected = torch.cat([w.grad.flatten(1) for w in flows.weights], dim=-1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


BULK = torch.tensor([1.0, 0.0])


@pytest.mark.parametrize(
    ("rescale", "project", "plus", "minus", "expected"),
    [
        # the minus half grows to norm 2 and cancels the plus half
        (True, True, [0.0, 2.0], [0.0, -1.0], [1.0, 0.0]),
        (False, True, [0.0, 2.0], [0.0, -1.0], [1.0, 1.0]),
        # rescaled minus half (0, 3), correction (-3, 3), overlap -3: the correction becomes
        # (-3, 3) + 3 (1, 0) = (0, 3), the bulk (1, 0) + 3/18 (-3, 3) = (1/2, 1/2)
        (True, True, [-3.0, 0.0], [0.0, 0.5], [0.5, 3.5]),
        (True, False, [-3.0, 0.0], [0.0, 0.5], [-2.0, 3.0]),
        # correction (-3, 3/2), overlap -3: (0, 3/2), and (1, 0) + 3/11.25 (-3, 1.5)
        (False, True, [-3.0, 0.0], [0.0, 1.5], [0.2, 1.9]),
        (False, False, [-3.0, 0.0], [0.0, 0.5], [-2.0, 0.5]),
    ],
)
def test_algorithm_1_by_hand(rescale, project, plus, minus, expected):
    halves = [(torch.tensor(plus), torch.tensor(minus))]
    found = adjust_gradients(BULK, halves, Adjustment(rescale, project))
    torch.testing.assert_close(found, torch.tensor(expected))


def test_algorithm_1_sums_levels():
    halves = [
        (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 4.0])),
        (torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])),
    ]
    found = adjust_gradients(torch.zeros(2), halves, FULL)
    torch.testing.assert_close(found, torch.tensor([1.0 + 2.0, 1.0 + 2.0]))


def test_algorithm_1_decides_for_every_replica():
    bulk = BULK.expand(2, -1)
    plus = torch.tensor([[-3.0, 0.0], [3.0, 0.0]])
    minus = torch.tensor([[0.0, 0.5], [0.0, 0.5]])
    found = adjust_gradients(bulk, [(plus, minus)], FULL)
    torch.testing.assert_close(found, torch.tensor([[0.5, 3.5], [4.0, 3.0]]))


# --- control variates


def test_levels_telescope():
    bulk, middle, top = torch.tensor(7.0), (torch.tensor(5.0), torch.tensor(6.0)), (3.0, 4.0)
    levels = [middle, tuple(torch.tensor(f) for f in top)]
    one, zero, half = torch.tensor(1.0), torch.tensor(0.0), torch.tensor(0.5)
    # beta = 1 is the multilevel sum, beta = 0 the top pairs alone
    assert sum(weigh_levels(bulk, levels, [one, one])) == 7 + (5 - 6) + (3 - 4)
    assert sum(weigh_levels(bulk, levels, [zero, zero])) == 3
    assert sum(weigh_levels(bulk, levels, [one, zero])) == 3
    assert sum(weigh_levels(bulk, levels, [half, half])) == 7 / 4 + (5 - 3) / 2 + (3 - 2)
    # if neighbouring levels have the same means, only the top is left, whatever beta
    same = [(torch.tensor(6.0), bulk), (torch.tensor(2.0), torch.tensor(6.0))]
    assert sum(weigh_levels(bulk, same, [half, torch.tensor(0.25)])) == 2
    assert weigh_levels(bulk, [], []) == [bulk]
