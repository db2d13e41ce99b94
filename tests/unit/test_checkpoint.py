"""A training that is cut off and goes on gives the same network to the bit."""

import copy
from dataclasses import replace

import pytest
import torch

from mflens.infer.checkpoint import Checkpoint
from mflens.infer.losses import Pairs
from mflens.infer.methods import Data, Settings, fit_method
from mflens.infer.posterior import CompressorFlow
from mflens.infer.training import Training
from mflens.seeding import new_generator, seeded

TRAINING = Training(max_epochs=3, batch_size=8, learning_rate=1e-2, patience=3, clip_norm=5.0)
INPUTS = (torch.ones(3), "the same")


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def start():
    with seeded(0):
        return CompressorFlow(
            torch.arange(16, 60),
            compressor={
                "nside": 4, "n_bins": 1, "channels": 2, "n_summaries": 3, "hidden_features": 8,
                "non_gaussian": True,
            },
            flow={"n_parameters": 2, "transforms": 2, "hidden_features": 8, "bins": 4},
        )  # fmt: skip


@pytest.fixture(scope="module")
def data():
    def draw(n, seed):
        y = torch.randn(n, 2, generator=new_generator(seed))
        noise = torch.randn(n, 1, 2, 44, generator=new_generator(seed + 1))
        return noise * torch.exp(0.3 * y)[:, None, :, None], y

    (low, y), (high, _) = draw(12, 5), draw(12, 7)
    return Data(["low", "high"], *draw(24, 0), *draw(16, 2), [Pairs("high", low, high, y)])


def run(method, data, start, checkpoint=None):
    training = replace(TRAINING, checkpoint=checkpoint)
    settings = Settings(training, training, 2, torch.device("cpu"), 1)
    posterior, history = fit_method(method, data, copy.deepcopy(start), settings)
    return [
        weight for member in posterior.members for weight in member.state_dict().values()
    ], history


class DyingCheckpoint(Checkpoint):
    """Ends the process after so many checkpoints."""

    lives = 0

    def save(self, progress):
        super().save(progress)
        self.lives -= 1
        if not self.lives:
            raise Killed


def killed_after(n_epochs, path, method, data, start):
    checkpoint = DyingCheckpoint(path, 0.0, INPUTS)
    checkpoint.lives = n_epochs
    with pytest.raises(Killed):
        run(method, data, start, checkpoint)
    return checkpoint.path


@pytest.mark.parametrize("method", ["high_only", "mlmc", "paired"])
@pytest.mark.parametrize("n_epochs", [1, 3, 5])
def test_resumed_training_is_the_same_to_the_bit(tmp_path, data, start, method, n_epochs):
    """Cut off in the first fit of the job, at its end and in the second fit."""
    path = str(tmp_path / "model.pt")
    expected, expected_history = run(method, data, start)
    assert killed_after(n_epochs, path, method, data, start).is_file()
    checkpoint = Checkpoint(path, 60.0, INPUTS)
    assert sum(one["epoch"] for one in checkpoint.fits) == n_epochs
    found, history = run(method, data, start, checkpoint)
    assert repr(history) == repr(expected_history)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    checkpoint.remove()
    assert not list(tmp_path.iterdir())


def test_two_kills(tmp_path, data, start):
    path = str(tmp_path / "model.pt")
    expected, _ = run("mlmc", data, start)
    for n_epochs in (2, 2):
        killed_after(n_epochs, path, "mlmc", data, start)
    checkpoint = Checkpoint(path, 60.0, INPUTS)
    assert sum(one["epoch"] for one in checkpoint.fits) == 4
    found, _ = run("mlmc", data, start, checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    "inputs", [(torch.ones(3).double(), "the same"), (torch.ones(3), "another")], ids=str
)
def test_checkpoint_of_other_inputs_is_not_used(tmp_path, data, start, inputs):
    path = str(tmp_path / "model.pt")
    killed_after(1, path, "high_only", data, start)
    assert Checkpoint(path, 1.0, INPUTS).fits
    assert not Checkpoint(path, 1.0, inputs).fits


def test_broken_checkpoint_is_not_used(tmp_path, data, start):
    path = str(tmp_path / "model.pt")
    file = killed_after(1, path, "high_only", data, start)
    file.write_bytes(file.read_bytes()[:-100])
    assert not Checkpoint(path, 1.0, INPUTS).fits


def test_no_checkpoint_before_its_time(tmp_path, data, start):
    checkpoint = Checkpoint(str(tmp_path / "model.pt"), 60.0, INPUTS)
    run("high_only", data, start, checkpoint)
    assert not list(tmp_path.iterdir())
