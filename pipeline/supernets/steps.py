"""One training between two steps: what a step computes, and all that the next one depends on."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.own import own_name
from pipeline.supernets.augment import resize
from pipeline.supernets.averages import RunningAverage
from pipeline.supernets.aware import QuantisationAware
from pipeline.supernets.batches import Answers, Batch, Batches
from pipeline.supernets.compute import device_of, on
from pipeline.supernets.data import TrainingData
from pipeline.supernets.distributed import average_gradients, average_value, processes, share
from pipeline.supernets.network import Network
from pipeline.supernets.optimizers import make_optimizer, still
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


class Training:
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
                self.teacher = largest(self.model)
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


def largest(supernet: Supernet) -> Network:
    """The supernet's largest network with weights of its own: a teacher that stays as it is."""
    return supernet.extract(supernet.space.max()).train()
