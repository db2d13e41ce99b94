"""The one training loop; methods differ in the objective that they hand to it."""

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from mflens.errors import TrainingError
from mflens.infer.checkpoint import Checkpoint, Progress

LOG_INTERVAL_S = 5.0
ENOUGH_REPLICAS = 0.95  # that have run out of patience: the last ones would cost as much as all


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
    betas
        Decay rates of Adam's moments.
    checkpoint
        Where training is saved on its way, None for nowhere.
    """

    max_epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    clip_norm: float
    betas: tuple[float, float] = (0.9, 0.999)
    checkpoint: Checkpoint | None = None


class Objective(Protocol):
    """What is minimised: it cuts its data into batches and leaves gradients in the parameters."""

    def batches(self, generator: torch.Generator) -> Iterator[list[Tensor]]:
        """Yield the batches of one epoch as lists of indices into the data."""

    def backward(self, batch: list[Tensor]) -> dict[str, Tensor]:
        """Write the gradients of a batch into the parameters and return the loss by level.

        A loss has shape () or, with replicas, (replica,).
        """


def fit(
    module: nn.Module,
    objective: Objective,
    validate: Callable[[], float | Tensor],
    training: Training,
    *,
    generator: torch.Generator,
    name: str,
) -> list[dict[str, float]]:
    """Minimise an objective by Adam and leave the weights of the best epoch in the module.

    A module of replicas, whose weights and validation losses have the replica as first axis, keeps
    the best weights of every replica and ends when nearly all have run out of patience.

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
    progress = Progress(module, new_optimizer(module, training), generator)
    checkpoint = training.checkpoint
    if checkpoint is None or not checkpoint.resume(progress):
        begin(progress, evaluate(module, validate, name, 0))
    first, started, reported = progress.epoch, time.monotonic(), time.monotonic()
    while not has_ended(progress, training):
        epoch = progress.epoch + 1
        train = run_epoch(module, objective, progress.optimizer, training, generator, name, epoch)
        validation = evaluate(module, validate, name, epoch)
        advance(progress, train, validation, training.patience)
        if has_ended(progress, training) or time.monotonic() - reported > LOG_INTERVAL_S:
            reported = time.monotonic()
            left = (reported - started) / (epoch - first) * (training.max_epochs - epoch)
            logging.info(
                "%s: epoch %d, train %.3f, validation %.3f, best %.3f at %.0f, %s",
                *(name, epoch, train, validation.mean()),
                *(progress.best.mean(), progress.best_epoch.mean()),
                "done" if has_ended(progress, training) else f"at most {left:.0f} s left",
            )
        if checkpoint is not None:
            checkpoint.save(progress)
    module.load_state_dict(progress.best_state)
    module.eval()
    if checkpoint is not None:
        checkpoint.finish(progress)
    return progress.history


def begin(progress: Progress, validation: Tensor) -> None:
    """Take note of the validation loss before training."""
    progress.best, progress.best_epoch = validation, torch.zeros_like(validation)
    # a reference to the state would follow the weights on their way
    progress.best_state = copy.deepcopy(progress.module.state_dict())
    row = {"epoch": 0, "train": math.nan, "validation": float(validation.mean())}
    progress.history.append(row)


def advance(progress: Progress, train: float, validation: Tensor, patience: int) -> None:
    """Take note of the losses of another epoch and of the weights, if they are better."""
    progress.epoch += 1
    epoch = progress.epoch
    row = {"epoch": epoch, "train": train, "validation": float(validation.mean())}
    progress.history.append(row)
    best, best_epoch = (old.to(validation.device) for old in (progress.best, progress.best_epoch))
    better = (validation < best) & (epoch - best_epoch <= patience)
    progress.best = torch.where(better, validation, best)
    progress.best_epoch = torch.where(better, float(epoch), best_epoch)
    keep_state(progress.best_state, progress.module, better)


def has_ended(progress: Progress, training: Training) -> bool:
    """Say whether nearly all replicas have run out of patience, or all of epochs."""
    waited = (progress.epoch - progress.best_epoch >= training.patience).double().mean()
    return bool(waited >= ENOUGH_REPLICAS) or progress.epoch >= training.max_epochs


def fit_without_validation(
    module: nn.Module,
    objective: Objective,
    training: Training,
    *,
    generator: torch.Generator,
    name: str,
) -> list[dict[str, float]]:
    """Minimise an objective by Adam for all epochs and leave the last weights in the module.

    See `fit`, which returns the same history.
    """
    optimizer = new_optimizer(module, training)
    history = [
        {
            "epoch": epoch,
            "train": run_epoch(module, objective, optimizer, training, generator, name, epoch),
            "validation": math.nan,
        }
        for epoch in range(1, training.max_epochs + 1)
    ]
    module.eval()
    logging.info("%s: %d epochs, train %.3f, done", name, len(history), history[-1]["train"])
    return history


def new_optimizer(module: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return Adam for all weights of a module that are trained."""
    weights = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.Adam(weights, lr=training.learning_rate, betas=training.betas)


def keep_state(state: dict[str, Tensor], module: nn.Module, better: Tensor) -> None:
    """Overwrite a state with the module's, where a replica (or the module) is better."""
    for key, value in module.state_dict().items():
        chosen = better.reshape(*better.shape, *[1] * (value.ndim - better.ndim)).to(value.device)
        state[key] = torch.where(chosen, value, state[key])


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
            if not torch.isfinite(loss).all():
                raise TrainingError(
                    f"{name}: the loss of level {level} is {float(loss.sum())} at step {step} of "
                    f"epoch {epoch}; lower learning_rate or look for non-finite sims of this tier."
                )
        clip_gradients(module, training.clip_norm, next(iter(by_level.values())).ndim)
        optimizer.step()
        losses.append(float(torch.stack(list(by_level.values())).sum(0).mean()))
    return sum(losses) / len(losses)


def clip_gradients(module: nn.Module, clip_norm: float, n_axes: int) -> None:
    """Scale gradients to at most a norm, in every replica on its own.

    Parameters
    ----------
    module
        Holds the gradients.
    clip_norm
        Largest norm.
    n_axes
        Leading axes of the weights that number replicas, 0 or 1.
    """
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    squares = [g.reshape(*g.shape[:n_axes], -1).square().sum(-1) for g in gradients]
    scale = (clip_norm / (torch.stack(squares).sum(0).sqrt() + 1e-6)).clamp(max=1)
    for g in gradients:
        g.mul_(scale.reshape(*scale.shape, *[1] * (g.ndim - n_axes)))


@torch.no_grad()
def evaluate(
    module: nn.Module, validate: Callable[[], float | Tensor], name: str, epoch: int
) -> Tensor:
    """Return the validation loss in evaluation mode, of shape () or (replica,).

    Raises
    ------
    TrainingError
        If it is not finite.
    """
    module.eval()
    loss = torch.as_tensor(validate(), dtype=torch.float64)
    if not torch.isfinite(loss).all():
        raise TrainingError(
            f"{name}: the loss of level validation is {float(loss.sum())} after epoch {epoch}, "
            "step 0 of the next; lower learning_rate or look for non-finite sims."
        )
    return loss


def resolve_device(device: str) -> torch.device:
    """Return the device that a config value names; `auto` is CUDA when present, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
