"""Training of a supernet or a single network: one loop, exactly resumable.

Everything random (order of the images, augmentation, networks of a step) derives from the seed and the number
of the step, so weights, momentum and the number of the step are the whole state.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.process import for_networks
from pipeline.progress import Progress
from pipeline.supernets.compute import on
from pipeline.supernets.data import TrainingData
from pipeline.supernets.distributed import is_first, processes, wait_for_all
from pipeline.supernets.files import below, load_weights, read_tensors, write_tensors
from pipeline.supernets.loading import readers_stay
from pipeline.supernets.optimizers import optimizer_tensors, restore_optimizer
from pipeline.supernets.recipes import Recipe
from pipeline.supernets.schedule import Trained
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.steps import EpochEnd, Training, largest
from pipeline.supernets.supernet import Supernet

# What trainings did before a setting was one, whose checkpoints do not name it.
_OLDER: Final = {"optimizer": "sgd", "mixup": 0.0}

OnEpoch = Callable[[EpochEnd], None]


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training did: its number of updates and the loss of each."""

    steps: int
    losses: tuple[float, ...]


def train(
    model: Trained,
    data: TrainingData,
    settings: TrainSettings,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    on_epoch: OnEpoch | None = None,
    recipe: Recipe | None = None,
) -> TrainResult:
    """Train `model` in place and leave it in evaluation mode.

    A `recipe` of one's own trains a supernet instead of that which the settings name.

    Where `checkpoint` exists the training goes on from it; it is rewritten every `checkpoint_seconds` and at
    the end. Under `torchrun` each process takes its share of every batch. `on_epoch` is called in each of them
    after every epoch and after the last step; it may use the model and must leave its weights alone. Raises
    PipelineError for settings that do not fit the model or the data, or a checkpoint of another training.
    """
    for_networks()
    training = Training(model, data, settings, recipe)
    if checkpoint is not None and checkpoint.is_file():
        _restore(training, checkpoint)
    wait_for_all()  # before the first one changes or removes what the others still read
    model.train()
    saved = time.monotonic()
    written = checkpoint if is_first() else None
    while training.step < training.steps:
        fitted = False
        with contextlib.suppress(torch.OutOfMemoryError), readers_stay():
            training.advance()
            fitted = True
        if not fitted:  # out of the error's reach, which holds all that the step had computed
            raise PipelineError(_too_large(training))
        if progress is not None:
            progress(training.step, training.steps, f"loss {training.losses[-1]:.3f}")
        done = training.step == training.steps
        if on_epoch is not None and (done or training.step % training.steps_per_epoch == 0):
            on_epoch(training.epoch_end())
            model.train()
        if written is not None and (done or time.monotonic() - saved >= settings.checkpoint_seconds):
            _save(training, written)
            saved = time.monotonic()
    training.average.apply(model)
    model.eval()
    return TrainResult(training.steps, tuple(training.losses))


def _too_large(training: Training) -> str:
    """One line about a batch that does not fit, with the largest half, quarter, … of it that does."""
    each = training.batch_size // processes()
    while each > 1:
        each //= 2
        if training.fits(each):
            return (
                f"a batch of {training.batch_size} images does not fit into the memory of {training.device};"
                f" [train] batch_size = {each * processes()} does"
            )
    return f"not even one image at a time fits into the memory of {training.device}; use a smaller space or resolution"


def _save(training: Training, path: Path) -> None:
    """Write everything that the next step depends on."""
    momenta = {f"optimizer.{n}": t for n, t in optimizer_tensors(training.optimizer, training.model).items()}
    tensors = {f"model.{name}": tensor for name, tensor in training.model.state_dict().items()} | momenta
    tensors |= {f"average.{name}": tensor for name, tensor in training.average.tensors.items()}
    if training.teacher is not None:
        tensors |= {f"teacher.{name}": tensor for name, tensor in training.teacher.state_dict().items()}
    tensors["losses"] = torch.tensor(training.losses, dtype=torch.float64)
    about = {"kind": "checkpoint", "step": training.step, "training": _identity(training)}
    write_tensors(path, tensors, about | {"scaler": training.scaler.state_dict()})


def _restore(training: Training, path: Path) -> None:
    """Go on from a file of `_save`; PipelineError where it is of another training."""
    tensors, about = read_tensors(path, "checkpoint")
    own, theirs = _identity(training), _OLDER | about["training"]
    if theirs != own:
        changed = sorted(name for name, value in own.items() if theirs.get(name) != value)
        raise PipelineError(
            f"{path} is the checkpoint of another training ({', '.join(changed)} differ); "
            "delete it to start anew, or restore the settings to go on"
        )
    training.step = about["step"]
    training.losses = tensors["losses"].tolist()
    load_weights(training.model, below(tensors, "model"), path)
    restore_optimizer(training.optimizer, training.model, below(tensors, "optimizer") or _older(training, tensors))
    if training.scaler.is_enabled() and about.get("scaler"):
        training.scaler.load_state_dict(about["scaler"])
    training.average.tensors = {name: on(training.device, tensor) for name, tensor in below(tensors, "average").items()}
    teacher = below(tensors, "teacher")
    if teacher and isinstance(training.model, Supernet):
        training.teacher = largest(training.model)
        load_weights(training.teacher, teacher, path)


def _older(training: Training, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of SGD, the one optimiser of version 0.1, by today's names; it had none of what had not moved yet."""
    moved = {f"momentum_buffer.{name}": tensor for name, tensor in below(tensors, "momentum").items()}
    return optimizer_tensors(training.optimizer, training.model) | moved


def _identity(training: Training) -> dict[str, object]:
    """What two runs must share to be the same training; on another device it may go on."""
    settings = asdict(training.settings)
    del settings["checkpoint_seconds"], settings["precision"]
    sizes = hashlib.sha256(
        "".join(f"{name} {tuple(p.shape)}\n" for name, p in training.model.named_parameters()).encode()
    )
    settings["recipe"] = training.recipe
    if not training.settings.continues:
        del settings["continues"]  # trainings of older versions go on
    return {**settings, "images": len(training.data), "model": sizes.hexdigest()[:16]}
