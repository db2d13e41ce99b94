"""The one training loop; methods differ in the objective that they hand to it."""

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from mflens.errors import TrainingError

LOG_INTERVAL_S = 5.0


@dataclass(frozen=True)
class Training:
    """Settings of the training loop, named as in the config.

    Parameters
    ----------
    max_epochs
        Upper limit of epochs.
    batch_size
        Sims in a batch.
    learning_rate
        Adam's step size.
    patience
        Epochs without a better validation loss before training stops.
    clip_norm
        Largest norm of a gradient.
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    clip_norm: float


class Objective(Protocol):
    """What is minimised: it cuts its data into batches and leaves gradients in the parameters."""

    def batches(self, generator: torch.Generator) -> Iterator[list[Tensor]]:
        """Yield the batches of one epoch as lists of indices into the data."""

    def backward(self, batch: list[Tensor]) -> dict[str, float]:
        """Write the gradients of a batch into the parameters and return the loss by level."""


def fit(
    module: nn.Module,
    objective: Objective,
    validate: Callable[[], float],
    training: Training,
    *,
    generator: torch.Generator,
    name: str,
) -> list[dict[str, float]]:
    """Minimise an objective by Adam and leave the weights of the best epoch in the module.

    Parameters
    ----------
    module
        What is trained, in place.
    objective
        Gives batches and gradients.
    validate
        Returns the validation loss of the module as it is; decides when to stop.
    training
        Settings.
    generator
        Random numbers for the order of batches.
    name
        Stands in the log before every line.

    Returns
    -------
    list
        For every epoch from 0 (before training) on: `epoch`, `train`, `validation`.

    Raises
    ------
    TrainingError
        If a loss is not finite.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=training.learning_rate)
    best = evaluate(module, validate, name, 0)
    best_state, best_epoch = copy.deepcopy(module.state_dict()), 0
    history = [{"epoch": 0, "train": math.nan, "validation": best}]
    started = reported = time.monotonic()
    for epoch in range(1, training.max_epochs + 1):
        train = run_epoch(module, objective, optimizer, training, generator, name, epoch)
        validation = evaluate(module, validate, name, epoch)
        history.append({"epoch": epoch, "train": train, "validation": validation})
        if validation < best:
            # a reference to the state would follow the weights on their way
            best, best_epoch = validation, epoch
            best_state = copy.deepcopy(module.state_dict())
        stop = epoch - best_epoch >= training.patience or epoch == training.max_epochs
        if stop or time.monotonic() - reported > LOG_INTERVAL_S:
            reported = time.monotonic()
            left = (reported - started) / epoch * (training.max_epochs - epoch)
            logging.info(
                "%s: epoch %d, train %.3f, validation %.3f, best %.3f at %d, %s",
                *(name, epoch, train, validation, best, best_epoch),
                "done" if stop else f"at most {left:.0f} s left",
            )
        if stop:
            break
    module.load_state_dict(best_state)
    module.eval()
    return history


def run_epoch(
    module: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    training: Training,
    generator: torch.Generator,
    name: str,
    epoch: int,
) -> float:
    """Take one step for every batch and return the mean training loss."""
    module.train()
    losses = []
    for step, batch in enumerate(objective.batches(generator), start=1):
        optimizer.zero_grad(set_to_none=True)
        by_level = objective.backward(batch)
        for level, loss in by_level.items():
            if not math.isfinite(loss):
                raise TrainingError(
                    f"{name}: the loss of level {level} is {loss} at step {step} of epoch {epoch}; "
                    "lower learning_rate or look for non-finite maps of this tier."
                )
        nn.utils.clip_grad_norm_(list(module.parameters()), training.clip_norm)
        optimizer.step()
        losses.append(sum(by_level.values()))
    return sum(losses) / len(losses)


@torch.no_grad()
def evaluate(module: nn.Module, validate: Callable[[], float], name: str, epoch: int) -> float:
    """Return the validation loss in evaluation mode.

    Raises
    ------
    TrainingError
        If it is not finite.
    """
    module.eval()
    loss = validate()
    if not math.isfinite(loss):
        raise TrainingError(
            f"{name}: the loss of level validation is {loss} after epoch {epoch}, step 0 of the "
            "next; lower learning_rate or look for non-finite maps."
        )
    return loss


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give libraries that draw from torch's global stream a seed, and restore the stream."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def new_generator(seed: int) -> torch.Generator:
    """Return a generator of random numbers on the CPU with this seed."""
    return torch.Generator().manual_seed(seed)


def resolve_device(device: str) -> torch.device:
    """Return the device that a config value names; `auto` is CUDA when present, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
