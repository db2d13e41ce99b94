"""What a method learned of all repetitions of a task: a density of targets given contexts.

NPE learns the normalised parameters y given observables x, NLE x given y. All tensors have the
repetition as first axis, but for a leading axis of samples.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mflens.infer.gaussian import LinearDensity
from mflens.infer.replicas import FlowReplicas
from mflens.infer.scaler import Scaler
from mflens.seeding import new_generator

Arguments = dict[str, Any]

LEAST_SPREAD = 0.5
N_POOL = 64  # samples of every member that means and variances of a mixture are taken from
N_PRIOR = 100  # sims that the spread expected of few pairs counts for
N_FREE = 3  # parameters that pairs are expected to have been spent on
STACK_PRIOR = 10.0  # sims that speak for the first member of a stack
N_EXPECTATIONS = 200


class Estimate:
    """A learned density q(target | context).

    Parameters
    ----------
    estimator
        `NPE` or `NLE`.
    scaler
        Of observables.
    density
        The density in standardised observables, a `FoldedFlows` or a `LinearDensity`.
    """

    def __init__(self, estimator: str, scaler: Scaler, density: "Density") -> None:
        self.estimator, self.scaler, self.density = estimator, scaler, density

    @torch.no_grad()
    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        """Return log q in the target's own units.

        Parameters
        ----------
        target
            Shape (repetition, n, d) or (sample, repetition, n, d).
        context
            Shape (repetition, n, c).

        Returns
        -------
        Tensor
            The target's shape without its last axis.
        """
        samples = target if target.ndim == 4 else target[None]
        standard, given = self._standardise(samples, context)
        log_q = torch.stack([self.density.log_prob(part, given) for part in standard])
        if self.estimator == "NLE":
            log_q = log_q + self.scaler.log_slope(samples)
        return log_q if target.ndim == 4 else log_q[0]

    @torch.no_grad()
    def sample(self, n_samples: int, context: Tensor, seed: int) -> Tensor:
        """Draw targets, shape (sample, repetition, n, d), at contexts (repetition, n, c)."""
        given = self._standardise(None, context)[1]
        drawn = self.density.sample(n_samples, given, new_generator(seed))
        return self.scaler.inverse(drawn) if self.estimator == "NLE" else drawn

    def _standardise(self, target: Tensor | None, context: Tensor) -> Any:
        if self.estimator == "NPE":
            return target, self.scaler.transform(context)
        return None if target is None else self.scaler.transform(target), context

    def to_state(self) -> tuple[dict[str, Any], Arguments]:
        """Return tensors and JSON-able arguments that rebuild the estimate exactly."""
        state, arguments = self.density.to_state()
        return (
            {"scaler": dict(vars(self.scaler)), "density": state},
            {"estimator": self.estimator, "kind": self.density.kind, "density": arguments},
        )

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arguments: Arguments) -> "Estimate":
        """Rebuild what `to_state` took apart."""
        density = DENSITIES[arguments["kind"]].from_state(state["density"], arguments["density"])
        return cls(arguments["estimator"], Scaler(**state["scaler"]), density)


class FoldedFlows:
    """In every repetition the equal-weight mixture of flows that left out different folds.

    Parameters
    ----------
    flows
        Replicas; neighbouring ones are the folds of a repetition.
    spread
        Factor on the base distribution's standard deviation, shape (repetition,), in every member
        of a mixture: the spread-adjusted linear pool of arXiv:1106.1638.
    """

    kind = "folded_flows"

    def __init__(self, flows: FlowReplicas, spread: Tensor) -> None:
        self.flows, self.spread = flows.eval(), spread
        self.n_folds = flows.arguments["n_replicas"] // len(spread)

    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        """Return log q, shape (repetition, n)."""
        repeated = (a.repeat_interleave(self.n_folds, 0) for a in (target, context, self.spread))
        log_q = self.flows.log_prob(*repeated)
        members = log_q.reshape(len(target), self.n_folds, -1)
        return members.logsumexp(1) - math.log(self.n_folds)

    def log_prob_left_out(self, target: Tensor, context: Tensor) -> Tensor:
        """Return log q of sims by the member that left them out, (repetition, n).

        Target and context have the shape (replica, n, feature).
        """
        spread = self.spread.repeat_interleave(self.n_folds)
        with torch.no_grad():
            return self.flows.log_prob(target, context, spread).reshape(len(self.spread), -1)

    def sample(self, n_samples: int, context: Tensor, generator: torch.Generator) -> Tensor:
        """Draw targets, shape (sample, repetition, n, d), members in random order."""
        shape = (n_samples, *context.shape[:2], self.flows.arguments["n_target"])
        z = torch.randn(shape, generator=generator) * self.spread[:, None, None]
        member = torch.randint(self.n_folds, (n_samples,), generator=generator)
        drawn = torch.empty(shape)
        for fold in range(self.n_folds):
            drawn[member == fold] = self.member(fold, z[member == fold], context)
        return drawn

    def member(self, fold: int, z: Tensor, context: Tensor) -> Tensor:
        """Map points of the base space, (sample, repetition, n, d), by the flows of one fold."""
        flows = self.flows.select(slice(fold, None, self.n_folds))
        flat = z.transpose(0, 1).flatten(1, 2)
        x = flows.from_latent(flat, context.repeat(1, len(z), 1))
        return x.reshape(len(context), len(z), *z.shape[2:]).transpose(0, 1)

    def to_state(self) -> tuple[dict[str, Any], Arguments]:
        """Return tensors and arguments."""
        state = {"flows": dict(self.flows.state_dict()), "spread": self.spread}
        return state, {"flows": self.flows.arguments}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arguments: Arguments) -> "FoldedFlows":
        """Rebuild what `to_state` took apart."""
        return cls(FlowReplicas.from_state(state["flows"], arguments["flows"]), state["spread"])


@torch.no_grad()
def calibrate(
    flows: FoldedFlows, target: Tensor, context: Tensor, *, generator: torch.Generator
) -> FoldedFlows:
    """Give a mixture of folds the spread that the sims held out from its members ask for.

    First the spread s of members: they are calibrated when the HPD levels of held-out targets in
    base space average one half. Then that of their mixture: with a variance B between means,
    members of variance W have an error s^2 W, their mean one of s^2 W - b with b = B (K - 1)/K,
    and the mixture the variance spread^2 W + b, which is right for spread^2 = s^2 - 2 b/W. Last,
    as n targets say little of it, and these also stopped the training, the log of the spread is
    averaged with that of sqrt(1 + N_FREE/n), which counts for N_PRIOR of them.

    Parameters
    ----------
    flows
        The mixture; its spread does not count.
    target, context
        What every member was not trained on, shape (replica, n, feature).
    generator
        Random numbers.
    """
    n_folds, n_repetitions = flows.n_folds, len(flows.spread)
    z = flows.flows.to_latent(target, context)
    radius = z.square().sum(-1).reshape(n_repetitions, -1)
    spread = base_spread(radius, z.shape[-1])
    given = context.reshape(n_repetitions, -1, context.shape[-1])
    shape = (N_POOL // 2, *given.shape[:2], target.shape[-1])
    half = torch.randn(shape, generator=generator)
    both = torch.cat([half, -half])
    drawn = torch.stack([flows.member(k, both, given) for k in range(n_folds)])
    within = drawn.var(1).mean((0, 2))
    between = drawn.mean(1).var(0, correction=0).mean(1)
    squared = (spread**2 - 2 * (between / within).mean(-1)).clamp(LEAST_SPREAD**2)
    return FoldedFlows(flows.flows, shrink_spread(squared.sqrt(), radius.shape[1]))


def shrink_spread(spread: Tensor, n: int) -> Tensor:
    """Average the log of a spread that n sims ask for with what is expected of so few."""
    expected = (1 + N_FREE / n) ** 0.5
    return spread ** (n / (n + N_PRIOR)) * expected ** (N_PRIOR / (n + N_PRIOR))


def base_spread(radius: Tensor, n_target: int) -> Tensor:
    """Return the spread, shape (repetition,), at which chi^2 levels average one half.

    Parameters
    ----------
    radius
        Squared distances in base space, shape (repetition, n).
    n_target
        Dimensions of base space.
    """
    spreads = torch.logspace(-0.5, 0.7, 121, dtype=torch.float64)
    half_n = torch.tensor(n_target / 2, dtype=torch.float64)
    scaled = radius.double()[..., None] / spreads**2 / 2
    level = torch.special.gammainc(half_n.expand_as(scaled), scaled).mean(1)
    return spreads[(level - 0.5).abs().argmin(-1)].float()


class PriorDensity:
    """A density that does not look at the context.

    Parameters
    ----------
    mean, sd
        Of the target, shape (repetition, 1, d): zero and one for normalised parameters.
    """

    kind = "prior"

    def __init__(self, mean: Tensor, sd: Tensor) -> None:
        self.tensors = {"mean": mean, "sd": sd}

    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        """Return log q, shape (repetition, n)."""
        normal = torch.distributions.Normal(self.tensors["mean"], self.tensors["sd"])
        return normal.log_prob(target).sum(-1)

    def sample(self, n_samples: int, context: Tensor, generator: torch.Generator) -> Tensor:
        """Draw targets, shape (sample, repetition, n, d)."""
        shape = (n_samples, *context.shape[:2], self.tensors["mean"].shape[-1])
        normal = torch.randn(shape, generator=generator)
        return self.tensors["mean"] + self.tensors["sd"] * normal

    def to_state(self) -> tuple[dict[str, Any], Arguments]:
        """Return tensors and arguments."""
        return self.tensors, {}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], arguments: Arguments) -> "PriorDensity":
        """Rebuild what `to_state` took apart."""
        return cls(**state)


class Stack:
    """A mixture of densities with weights of their own in every repetition.

    Parameters
    ----------
    members
        Densities.
    weights
        Shape (repetition, member), summing to one.
    """

    kind = "stack"

    def __init__(self, members: Sequence["Density"], weights: Tensor) -> None:
        self.members, self.weights = list(members), weights

    def log_prob(self, target: Tensor, context: Tensor) -> Tensor:
        """Return log q, shape (repetition, n)."""
        log_q = torch.stack([member.log_prob(target, context) for member in self.members], dim=1)
        return (self.weights.log()[..., None] + log_q).logsumexp(1)

    def sample(self, n_samples: int, context: Tensor, generator: torch.Generator) -> Tensor:
        """Draw targets, shape (sample, repetition, n, d)."""
        chosen = torch.multinomial(self.weights, n_samples, replacement=True, generator=generator)
        drawn = [member.sample(n_samples, context, generator) for member in self.members]
        index = chosen.mT[None, ..., None, None].expand(1, *drawn[0].shape)
        return torch.stack(drawn).gather(0, index)[0]

    def to_state(self) -> tuple[dict[str, Any], Arguments]:
        """Return tensors and arguments."""
        parts = [member.to_state() for member in self.members]
        state: dict[str, Any] = {str(i): part[0] for i, part in enumerate(parts)}
        kinds = [member.kind for member in self.members]
        return (
            {**state, "weights": self.weights},
            {"kinds": kinds, "members": [part[1] for part in parts]},
        )

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arguments: Arguments) -> "Stack":
        """Rebuild what `to_state` took apart."""
        members = [
            DENSITIES[kind].from_state(state[str(i)], given)
            for i, (kind, given) in enumerate(
                zip(arguments["kinds"], arguments["members"], strict=True)
            )
        ]
        return cls(members, state["weights"])


def stack_weights(log_q: Tensor) -> Tensor:
    """Return the weights of a mixture that maximise the log score of left-out sims.

    Expectation maximisation, from and with a prior of STACK_PRIOR sims at the first member.

    Parameters
    ----------
    log_q
        Log densities of left-out sims, shape (repetition, member, n).

    Returns
    -------
    Tensor
        Shape (repetition, member).

    References
    ----------
    arXiv:1704.02030
    """
    n_repetitions, n_members, n = log_q.shape
    prior = torch.zeros(n_members, dtype=torch.float64)
    prior[0] = STACK_PRIOR
    weights = torch.full((n_repetitions, n_members), 1 / n_members, dtype=torch.float64)
    for _ in range(N_EXPECTATIONS):
        share = (weights.log()[..., None] + log_q.double()).softmax(1).sum(-1)
        weights = ((share + prior) / (n + STACK_PRIOR)).clamp(1e-12)
    return (weights / weights.sum(1, keepdim=True)).float()


Density = FoldedFlows | LinearDensity | PriorDensity | Stack
DENSITIES: dict[str, Any] = {d.kind: d for d in (FoldedFlows, LinearDensity, PriorDensity, Stack)}
