"""Checkpoints of training: a job that is killed or preempted goes on where it was.

The file holds weights, optimiser, state of the random numbers and history of the fit under way, and
the outcome of those that the job has finished. A resumed job gives the same network to the bit.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mflens.errors import DataError
from mflens.files.dependencies import fingerprint
from mflens.files.io import load_model, save_model

MINUTE_S = 60.0


@dataclass
class Progress:
    """What changes in the course of a fit.

    Parameters
    ----------
    module, optimizer, generator
        What is trained, and what trains it, changed in place.
    epoch
        Epochs done.
    best, best_epoch
        Lowest validation loss and its epoch, of shape () or (replica,).
    best_state
        The weights of that epoch.
    history
        As `fit` returns it.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    epoch: int = 0
    best: Tensor = field(default_factory=lambda: torch.zeros(()))
    best_epoch: Tensor = field(default_factory=lambda: torch.zeros(()))
    best_state: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """Return all of it as tensors, numbers and text."""
        return {
            "module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(), "epoch": self.epoch, "best": self.best,
            "best_epoch": self.best_epoch, "best_state": self.best_state, "history": self.history,
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Take a state over."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.epoch, self.history = state["epoch"], state["history"]
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        weights = self.module.state_dict()
        self.best_state = {k: v.to(weights[k].device) for k, v in state["best_state"].items()}


class Checkpoint:
    """The checkpoint of a job, which may fit several modules, one after the other.

    Parameters
    ----------
    product
        File of the trained network, beside which the checkpoint lies.
    minutes
        Time between two checkpoints.
    inputs
        All that the network depends on, code and threads aside. A checkpoint of other inputs is
        not used.
    """

    def __init__(self, product: str, minutes: float, inputs: Sequence[Any]) -> None:
        self.path = Path(product).with_suffix(".checkpoint")
        self.interval_s, self.key = minutes * MINUTE_S, digest(inputs)
        self.saved = time.monotonic()
        self.finished: list[dict[str, Any]] = []
        self.fits: list[dict[str, Any]] = self._read()
        if self.fits:
            logging.info("going on from %s, epoch %d", self.path, self.fits[-1]["epoch"])

    def resume(self, progress: Progress) -> bool:
        """Bring the next fit of the job to where it was; False if it has not begun."""
        number = len(self.finished)
        if number >= len(self.fits):
            return False
        progress.load(self.fits[number])
        return True

    def save(self, progress: Progress) -> None:
        """Write the checkpoint if it is time."""
        if time.monotonic() - self.saved < self.interval_s:
            return
        save_model(self.path, {"fits": [*self.finished, progress.state()]}, {"key": self.key})
        self.saved = time.monotonic()

    def finish(self, progress: Progress) -> None:
        """Take note that a fit has ended; its weights are the best ones."""
        self.finished.append(_copy(progress.state()))

    def remove(self) -> None:
        """Remove the file, when the job has written its result."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        try:
            state, arguments = load_model(self.path)
        except DataError:  # training starts anew
            logging.warning("%s is broken and not used", self.path)
            return []
        fits: list[Any] = list(state["fits"]) if arguments["key"] == self.key else []
        return fits


def _copy(value: Any) -> Any:
    """Copy a state, which else would follow what is trained next."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copy(entry) for key, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value


def digest(inputs: Sequence[Any]) -> str:
    """Return a hash of tensors, by their content, and of everything else, as it prints.

    The code of the methods, the version of torch and the number of threads are part of it.
    """
    code = fingerprint(Path(__file__).with_name("methods.py"))
    found = hashlib.sha256()
    for value in (code, torch.__version__, torch.get_num_threads(), *inputs):
        if isinstance(value, Tensor):
            found.update(repr((value.dtype, value.shape)).encode())
            found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        else:
            found.update(repr(value).encode())
    return found.hexdigest()
