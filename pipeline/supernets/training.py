"""Training of a supernet or a single network: one loop, exactly resumable.

Everything random (order of the images, augmentation, networks of a step) derives from the seed and the number
of the step, so weights, momentum and the number of the step are the whole state.
"""

import contextlib
import hashlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.own import own_name
from pipeline.process import for_networks
from pipeline.progress import Progress
from pipeline.supernets.augment import resize
from pipeline.supernets.averages import RunningAverage
from pipeline.supernets.aware import QuantisationAware
from pipeline.supernets.batches import Answers, Batch, Batches
from pipeline.supernets.compute import device_of, on
from pipeline.supernets.data import TrainingData
from pipeline.supernets.distributed import average_gradients, average_value, is_first, processes, share, wait_for_all
from pipeline.supernets.files import below, load_weights, read_tensors, write_tensors
from pipeline.supernets.loading import readers_stay
from pipeline.supernets.network import Network
from pipeline.supernets.optimizers import make_optimizer, optimizer_tensors, restore_optimizer, still
from pipeline.supernets.recipes import Pass, Phase, Recipe
from pipeline.supernets.schedule import Trained, phases_of, schedule
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Dropping, Supernet


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """Where a training stands after an epoch, or after its last step where that is within one.

    `epoch` counts passes over the images, `loss` (nats) is the mean over the epoch's steps, each the sum over the
    networks of the step, and `learning_rate` that of the last step. After the `last` one weights are not averaged yet.
    """

    epoch: float
    step: int
    last: bool
    loss: float
    learning_rate: float
    model: Trained


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
    training = _Training(model, data, settings, recipe)
    if checkpoint is not None and checkpoint.is_file():
        training.restore(checkpoint)
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
            training.save(written)
            saved = time.monotonic()
    training.finish()
    model.eval()
    return TrainResult(training.steps, tuple(training.losses))


def _too_large(training: "_Training") -> str:
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


class _Training:
    """The state of one training between two steps."""

    def __init__(
        self, model: Trained, data: TrainingData, settings: TrainSettings, recipe: Recipe | None = None
    ) -> None:
        self.model, self.data, self.settings = model, data, settings
        self.recipe = settings.recipe if recipe is None else own_name(recipe)
        self.batch_size = min(settings.batch_size, len(data))
        self.batches = Batches(data, self.batch_size, settings.seed, settings.mixup, share(self.batch_size))
        self._coming: Iterator[Batch] | None = None
        self.steps_per_epoch = self.batches.per_epoch
        self.steps = max(1, round(settings.epochs * self.steps_per_epoch))
        self.phases = schedule(phases_of(model, settings, recipe), self.steps)
        self.step = 0
        self.losses: list[float] = []
        self.teacher: Network | None = None
        self.device = device_of(model)
        self.optimizer = make_optimizer(model, settings)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        self.average = RunningAverage(model, settings.ema_decay)

    def advance(self) -> None:
        """One update."""
        phase, start, end = next(entry for entry in self.phases if entry[1] <= self.step < entry[2])
        if self.step == start:
            self._enter(phase)
        self._set_lr(phase, start, end)
        if self._coming is None:
            self._coming = self.batches.following(self.step, self.steps)
        images, answers = self._placed(next(self._coming))
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._passes(phase, images, answers)
        average_gradients(self.model.parameters())
        if self.settings.grad_clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update(self.model, self.step)
        self.losses.append(average_value(loss))
        self.step += 1

    def epoch_end(self) -> EpochEnd:
        """Where the training stands; its last step ended an epoch, or everything."""
        losses = self.losses[-(self.step % self.steps_per_epoch or self.steps_per_epoch) :]
        return EpochEnd(
            epoch=self.step / self.steps_per_epoch,
            step=self.step,
            last=self.step == self.steps,
            loss=sum(losses) / len(losses),
            learning_rate=self.optimizer.param_groups[0]["lr"],
            model=self.model,
        )

    def fits(self, size: int) -> bool:
        """Whether `size` images of this step pass here forwards and backwards; the training is over after that."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if processes() > 1:  # the others are elsewhere, and training needs their BatchNorm statistics
            for network in (self.model, self.teacher):
                if network is not None:
                    network.eval()
        phase, _, _ = next(entry for entry in self.phases if entry[1] <= self.step < entry[2])
        try:
            images, answers = self._placed(self.batches(self.step))
            self._passes(phase, images[:size], [(labels[:size], weight) for labels, weight in answers])
        except torch.OutOfMemoryError:
            return False
        return True

    def finish(self) -> None:
        """Leave the averaged weights in the model where they were asked for."""
        self.average.apply(self.model)

    def _passes(self, phase: Phase, images: Tensor, answers: Answers) -> float:
        """Add the gradients of every pass of the step; returns the summed loss."""
        total = torch.zeros((), device=self.device)
        soft: Tensor | None = None
        start, end = next((start, end) for other, start, end in self.phases if other is phase)
        rng, done = random.Random(f"{self.settings.seed}/{self.step}"), (self.step - start) / (end - start)
        for part in phase.plan(rng, done):
            size = self._activate(part)
            inputs = resize(images, size)
            with self._mixed_precision():
                if phase.teacher == "frozen" and self.teacher is not None:
                    with torch.no_grad():
                        soft = self.teacher(inputs).softmax(1)
                logits = self.model(inputs, self._dropping(part)) if part.dropout else self.model(inputs)
                loss = self._loss(part, logits, answers, soft)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            if phase.teacher == "largest" and soft is None:
                soft = logits.detach().softmax(1)
        return float(total)  # the only wait for a device in a step

    def _mixed_precision(self) -> torch.autocast:
        precision = self.settings.precision
        dtype = torch.float16 if precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=precision != "fp32")

    def _loss(self, part: Pass, logits: Tensor, answers: Answers, soft: Tensor | None) -> Tensor:
        loss = logits.new_zeros(())
        if part.labels:
            for labels, weight in answers:
                smoothing = self.settings.label_smoothing
                loss = loss + part.labels * weight * F.cross_entropy(logits, labels, label_smoothing=smoothing)
        if part.teacher and soft is not None:
            loss = loss + part.teacher * F.cross_entropy(logits, soft)
        return loss

    def _dropping(self, part: Pass) -> Dropping:
        """What a pass does to the classifier's input (n, c, 1, 1)."""

        def drop(x: Tensor) -> Tensor:
            kept = on(self.device, self.batches.kept(self.step, x.shape[1], part.dropout)[: len(x)])
            return x * kept[:, :, None, None] / (1 - part.dropout)

        return drop

    def _activate(self, part: Pass) -> int:
        """Make the model compute what the pass trains; returns its resolution in pixels."""
        if isinstance(self.model, Network | QuantisationAware):
            return self.model.resolution
        if part.arch is None:
            raise TypeError("a pass over a supernet needs an architecture")
        self.model.activate(part.arch, part.paths)
        return part.arch.resolution

    def _enter(self, phase: Phase) -> None:
        """What a phase changes once, before its first step."""
        if self.step:
            still(self.optimizer)
        if isinstance(self.model, Supernet):
            if phase.teacher == "frozen" and self.teacher is None:
                self.teacher = self.model.extract(self.model.space.max()).train()
            if phase.sort_channels:
                self.model.sort_channels()

    def _set_lr(self, phase: Phase, start: int, end: int) -> None:
        done = (self.step - start) / (end - start)
        lr = self.settings.lr * phase.lr_scale * phase.lr_factor(done)
        warmup = self.settings.warmup * self.steps
        if self.step < warmup:
            lr *= (self.step + 1) / (warmup + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def _placed(self, batch: Batch) -> Batch:
        """The images and labels of a step on the model's device."""
        images, answers = batch
        return on(self.device, images), [(on(self.device, labels), weight) for labels, weight in answers]

    # -- state in a file --------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on."""
        momenta = {f"optimizer.{n}": t for n, t in optimizer_tensors(self.optimizer, self.model).items()}
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()} | momenta
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.tensors.items()}
        if self.teacher is not None:
            tensors |= {f"teacher.{name}": tensor for name, tensor in self.teacher.state_dict().items()}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        about = {"kind": "checkpoint", "step": self.step, "training": self._identity()}
        write_tensors(path, tensors, about | {"scaler": self.scaler.state_dict()})

    def restore(self, path: Path) -> None:
        """Go on from a file of `save`; PipelineError where it is of another training."""
        tensors, about = read_tensors(path, "checkpoint")
        if about["training"] != self._identity():
            changed = sorted(k for k, v in self._identity().items() if about["training"].get(k) != v)
            raise PipelineError(
                f"{path} is the checkpoint of another training ({', '.join(changed)} differ); "
                "delete it to start anew, or restore the settings to go on"
            )
        self.step = about["step"]
        self.losses = tensors["losses"].tolist()
        load_weights(self.model, below(tensors, "model"), path)
        restore_optimizer(self.optimizer, self.model, below(tensors, "optimizer"))
        if self.scaler.is_enabled() and about.get("scaler"):
            self.scaler.load_state_dict(about["scaler"])
        self.average.tensors = {name: on(self.device, tensor) for name, tensor in below(tensors, "average").items()}
        teacher = below(tensors, "teacher")
        if teacher and isinstance(self.model, Supernet):
            self.teacher = self.model.extract(self.model.space.max()).train()
            load_weights(self.teacher, teacher, path)

    def _identity(self) -> dict[str, object]:
        """What two runs must share to be the same training; on another device it may go on."""
        settings = asdict(self.settings)
        del settings["checkpoint_seconds"], settings["precision"]
        sizes = hashlib.sha256(
            "".join(f"{name} {tuple(p.shape)}\n" for name, p in self.model.named_parameters()).encode()
        )
        settings["recipe"] = self.recipe
        if not self.settings.continues:
            del settings["continues"]  # trainings of older versions go on
        return {**settings, "images": len(self.data), "model": sizes.hexdigest()[:16]}
