"""Many flows of one architecture, trained and evaluated together.

Small networks spend their time between operations, not in them: a hundred in one tensor cost as
much as ten of their kind in a row. All tensors have the replica as their first axis; replicas
share neither weights nor data.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
import zuko
from torch import Tensor, nn
from torch.distributions import Normal
from torch.func import functional_call, stack_module_state, vmap

from mflens.seeding import seeded

Arguments = dict[str, Any]
MAX_ROWS = 200_000  # evaluated at a time, to bound memory


class FlowReplicas(nn.Module):
    """Neural spline flows q(target | context), one for every replica.

    Parameters
    ----------
    n_replicas
        Number of flows.
    n_target, n_context
        Features of target and context.
    flow
        `transforms`, `hidden_features`, `bins`.
    estimator
        `NPE`: the target is y and the context x; `NLE`: the other way round.
    """

    def __init__(
        self, *, n_replicas: int, n_target: int, n_context: int, flow: Arguments, estimator: str
    ) -> None:
        super().__init__()
        self.arguments: Arguments = {
            "n_replicas": n_replicas,
            "n_target": n_target,
            "n_context": n_context,
            "flow": dict(flow),
            "estimator": estimator,
        }
        modules = [_Spline(n_target, n_context, **flow) for _ in range(n_replicas)]
        stacked, _ = stack_module_state(modules)
        self.names = list(stacked)
        self.weights = nn.ParameterList([p.detach().clone() for p in stacked.values()])
        # a list hides the module, whose own weights are not used, from the parameters
        self._spline = [modules[0].requires_grad_(False)]

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], arguments: Arguments) -> "FlowReplicas":
        """Rebuild flows exactly from their tensors and arguments."""
        with seeded(0):
            model = cls(**arguments)
        model.load_state_dict(state)
        return model.eval()

    @classmethod
    def from_flow(cls, flow: nn.Module, arguments: Arguments) -> "FlowReplicas":
        """Return replicas that all start with the weights of one zuko flow."""
        with seeded(0):
            model = cls(**arguments)
        state = flow.state_dict()
        for name, weight in zip(model.names, model.weights, strict=True):
            weight.data.copy_(state[name.removeprefix("flow.")].expand_as(weight))
        return model

    def to_flow(self, flow: nn.Module, replica: int, spread: float) -> None:
        """Write the weights of one replica, with this base spread, into a zuko flow, in place."""
        weights = zip(self.names, self.weights, strict=True)
        state = {name.removeprefix("flow."): w.detach()[replica] for name, w in weights}
        scale = torch.full_like(flow.state_dict()["base.scale"], spread)
        flow.load_state_dict({**flow.state_dict(), **state, "base.scale": scale})

    def copy(self) -> "FlowReplicas":
        """Return flows with the same weights, to be trained on."""
        return copy.deepcopy(self)

    def _apply(self, fn: Any, recurse: bool = True) -> "FlowReplicas":
        # the hidden module's masks must follow the weights to their device
        self._spline[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def select(self, chosen: slice) -> "FlowReplicas":
        """Return some of the flows, in evaluation."""
        selected = copy.copy(self)
        weights = [nn.Parameter(w.detach()[chosen]) for w in self.weights]
        # a shallow copy shares the registries of its original
        selected._modules = {"weights": nn.ParameterList(weights)}
        selected.arguments = {**self.arguments, "n_replicas": len(weights[0])}
        return selected

    def log_prob(self, target: Tensor, context: Tensor, spread: Tensor | None = None) -> Tensor:
        """Return log q, shape (replica, n), at targets and contexts (replica, n, feature).

        The base distribution is N(0, spread^2), `spread` of shape (replica,) or 1.
        """
        z, log_slope = self._call("to_latent", target, context).split([target.shape[-1], 1], -1)
        sd = z.new_ones(()) if spread is None else spread[:, None, None]
        return (Normal(torch.zeros_like(sd), sd).log_prob(z).sum(-1)) + log_slope[..., 0]

    def to_latent(self, target: Tensor, context: Tensor) -> Tensor:
        """Map targets to the flow's base space, where q is standard normal."""
        return self._call("to_latent", target, context)[..., :-1]

    def from_latent(self, latent: Tensor, context: Tensor) -> Tensor:
        """Map points of the base space to targets; standard normal ones become samples of q."""
        return self._call("from_latent", latent, context)

    def nll(self, x: Tensor, y: Tensor) -> Tensor:
        """Return f = -log q(y | x) (NPE) or -log q(x | y) (NLE), shape (replica, n)."""
        pair = (y, x) if self.arguments["estimator"] == "NPE" else (x, y)
        return -self.log_prob(*pair)

    def _call(self, what: str, a: Tensor, context: Tensor) -> Tensor:
        weights = dict(zip(self.names, self.weights, strict=True))

        def one(weights: dict[str, Tensor], a: Tensor, context: Tensor) -> Tensor:
            return functional_call(self._spline[0], weights, (what, a, context))

        size = max(1, MAX_ROWS // len(a))
        parts = zip(a.split(size, dim=1), context.split(size, dim=1), strict=True)
        return torch.cat([vmap(one)(weights, *part) for part in parts], dim=1)


class _Spline(nn.Module):
    """A conditional spline flow whose every use goes through `forward`, as vmap wants it."""

    def __init__(
        self, n_target: int, n_context: int, *, transforms: int, hidden_features: int, bins: int
    ) -> None:
        super().__init__()
        self.flow = zuko.flows.NSF(
            features=n_target,
            context=n_context,
            transforms=transforms,
            bins=bins,
            hidden_features=[hidden_features] * 2,
        )

    def forward(self, what: str, a: Tensor, context: Tensor) -> Tensor:
        transform = self.flow(context).transform
        if what == "from_latent":
            return transform.inv(a)
        z, log_slope = transform.call_and_ladj(a)
        return torch.cat([z, log_slope[..., None]], dim=-1)


def take(x: Tensor, index: Tensor) -> Tensor:
    """Return rows of x: x[index], or in each replica its own rows for an index (replica, n)."""
    if index.ndim == 1:
        return x[index]
    return x[torch.arange(len(index), device=index.device)[:, None], index]
