"""Posteriors of the normalised parameters y: members, their mixture, and how they are stored.

Every member maps a batch of observables to a distribution of y; a posterior is the equal-weight
mixture of its members.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import zuko
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

from mflens.compress.network import HealpixCompressor
from mflens.prior import Prior
from mflens.seeding import seeded

Arguments = dict[str, Any]


class CompressorFlow(nn.Module):
    """A compressor followed by a neural spline flow, q(y | s(x)).

    Parameters
    ----------
    pixel
        Nested indices of the footprint, shape (pixel,).
    compressor
        Arguments of `HealpixCompressor`.
    flow
        Arguments of the flow: `n_parameters`, `transforms`, `hidden_features`, `bins`.
    """

    kind = "compressor_flow"

    def __init__(self, pixel: Tensor, *, compressor: Arguments, flow: Arguments) -> None:
        super().__init__()
        self.arguments = {"compressor": compressor, "flow": flow}
        self.compressor = HealpixCompressor(pixel, **compressor)
        self.flow = zuko.flows.NSF(
            features=flow["n_parameters"],
            context=compressor["n_summaries"],
            transforms=flow["transforms"],
            bins=flow["bins"],
            hidden_features=[flow["hidden_features"]] * 2,
        )

    def forward(self, x: Tensor) -> torch.distributions.Distribution:
        """Map shear, shape (batch, bin, component, pixel), to the distribution of y."""
        return self.flow(self.compressor(x))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], arguments: Arguments) -> "CompressorFlow":
        """Rebuild a network exactly from its tensors and arguments."""
        with seeded(0):
            model = cls(state["compressor.pixel"], **arguments)
        model.load_state_dict(state)
        return model.eval()

    @torch.no_grad()
    def summarise(self, x: Tensor, batch_size: int) -> Tensor:
        """Return the summaries of many maps, shape (n, summary)."""
        self.eval()
        return torch.cat([self.compressor(part) for part in x.split(batch_size)])


class LinearGaussian(nn.Module):
    """A Gaussian whose mean is linear in standardised spectra.

    Parameters
    ----------
    n_features
        Number of spectra features.
    n_parameters
        Number of parameters.
    """

    kind = "linear_gaussian"
    unit: Tensor
    centre: Tensor
    spread: Tensor
    weight: Tensor
    offset: Tensor
    covariance: Tensor

    def __init__(self, *, n_features: int, n_parameters: int) -> None:
        super().__init__()
        self.arguments = {"n_features": n_features, "n_parameters": n_parameters}
        for name, shape in {
            "unit": (n_features,),
            "centre": (n_features,),
            "spread": (n_features,),
            "weight": (n_features, n_parameters),
            "offset": (n_parameters,),
            "covariance": (n_parameters, n_parameters),
        }.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], arguments: Arguments) -> "LinearGaussian":
        """Rebuild a regression exactly from its tensors and arguments."""
        model = cls(**arguments)
        model.load_state_dict(state)
        return model.eval()

    def fit_scaler(self, x: Tensor) -> None:
        """Fit the scaler of the features, once, on training spectra of shape (n, feature)."""
        self.unit.copy_(x.double().abs().median(0).values + 1e-300)
        stretched = torch.asinh(x.double() / self.unit)
        self.centre.copy_(stretched.mean(0))
        self.spread.copy_(stretched.std(0) + 1e-12)

    def features(self, x: Tensor) -> Tensor:
        """Return standardised features; asinh is a logarithm that stands negative band powers."""
        return (torch.asinh(x.double() / self.unit) - self.centre) / self.spread

    def forward(self, x: Tensor) -> torch.distributions.Distribution:
        """Map spectra, shape (batch, feature), to the distribution of y."""
        return MultivariateNormal(
            self.features(x) @ self.weight + self.offset, covariance_matrix=self.covariance
        )


class StandardNormal(nn.Module):
    """The prior of y, whatever the observable.

    Parameters
    ----------
    n_parameters
        Number of parameters.
    """

    kind = "standard_normal"

    def __init__(self, *, n_parameters: int) -> None:
        super().__init__()
        self.arguments = {"n_parameters": n_parameters}
        self.register_buffer("zero", torch.zeros(n_parameters, dtype=torch.float64))
        self.zero: Tensor

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], arguments: Arguments) -> "StandardNormal":
        """Rebuild the prior."""
        return cls(**arguments)

    def forward(self, x: Tensor) -> torch.distributions.Distribution:
        """Return one standard normal for every row of x."""
        loc = self.zero.expand(len(x), -1)
        return Independent(Normal(loc, torch.ones_like(loc)), 1)


MEMBERS = {member.kind: member for member in (CompressorFlow, LinearGaussian, StandardNormal)}


class Posterior:
    """The equal-weight mixture of members.

    Parameters
    ----------
    members
        Modules that map observables to distributions of y.
    observable
        What the members look at, `maps` or `spectra`.
    """

    def __init__(self, members: Sequence[nn.Module], observable: str) -> None:
        self.members = [member.eval().cpu() for member in members]
        self.observable = observable

    @torch.no_grad()
    def log_prob(self, y: Tensor, x: Tensor) -> Tensor:
        """Return log q(y | x).

        Parameters
        ----------
        y
            Normalised parameters, shape (..., n, parameter).
        x
            Observables, first axis n.
        """
        logs = [member(x).log_prob(_as(member, y)).double() for member in self.members]
        return torch.logsumexp(torch.stack(logs), dim=0) - math.log(len(logs))

    @torch.no_grad()
    def sample(self, n_samples: int, x: Tensor, *, seed: int) -> Tensor:
        """Draw y from the mixture, shape (n_samples, n, parameter), members in random order."""
        with seeded(seed):
            drawn = torch.randint(len(self.members), (n_samples,))
            y = [
                member(x).sample((int((drawn == i).sum()),)).double()
                for i, member in enumerate(self.members)
            ]
            return torch.cat(y)[torch.argsort(torch.argsort(drawn, stable=True))]

    def to_state(self) -> tuple[dict[str, Any], Arguments]:
        """Return tensors and JSON-able arguments that rebuild the posterior exactly."""
        state = {str(i): member.state_dict() for i, member in enumerate(self.members)}
        arguments = {
            "observable": self.observable,
            "members": [
                {"kind": member.kind, "arguments": member.arguments} for member in self.members
            ],
        }
        return state, arguments

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arguments: Arguments) -> "Posterior":
        """Rebuild what `to_state` took apart."""
        members = [
            MEMBERS[entry["kind"]].from_state(state[str(i)], entry["arguments"])
            for i, entry in enumerate(arguments["members"])
        ]
        return cls(members, arguments["observable"])


def sample_theta(
    posterior: Posterior, x: Tensor, theta: np.ndarray, prior: Prior, *, n_samples: int, seed: int
) -> dict[str, np.ndarray]:
    """Sample parameters and evaluate physical densities at samples and truth.

    log q(theta | x) = log q(y | x) - log N(y) + log p(theta).

    Parameters
    ----------
    posterior
        Of the normalised parameters.
    x
        Observables, first axis n.
    theta
        True parameters, shape (n, d); those on the prior's bounds count as `Prior.inside` says.
    prior
        Maps between theta and y.
    n_samples
        Samples for every observable.
    seed
        Of the samples.

    Returns
    -------
    dict
        `samples` (n, n_samples, d), `log_prob_samples` (n, n_samples), `log_prob_truth` (n,),
        `log_prior_truth` (n,).
    """

    def physical(y: Tensor, theta: np.ndarray) -> np.ndarray:
        normal = Independent(Normal(torch.zeros_like(y), torch.ones_like(y)), 1)
        return (posterior.log_prob(y, x) - normal.log_prob(y)).numpy() + prior.log_prob(theta)

    y = posterior.sample(n_samples, x, seed=seed)
    samples, truth = prior.from_normal(y.numpy()), prior.inside(theta)
    return {
        "samples": samples.swapaxes(0, 1),
        "log_prob_samples": physical(y, samples).T,
        "log_prob_truth": physical(torch.as_tensor(prior.to_normal(truth)), truth),
        "log_prior_truth": prior.log_prob(truth),
    }


def _as(member: nn.Module, y: Tensor) -> Tensor:
    # the networks are single, the regressions double precision
    return y.float() if isinstance(member, CompressorFlow) else y.double()
