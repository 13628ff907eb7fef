"""Training of weights and gates together: one loop for every method, exactly resumable.

Everything random derives from the seed and the number of the step, so that weights, gates, their optimisers, the
limits' multipliers and the number of the step are the whole state.
"""

import hashlib
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.progress import Progress
from pipeline.relax.gates import Gates
from pipeline.relax.limits import Limits
from pipeline.relax.method import Method
from pipeline.relax.methods import METHODS
from pipeline.relax.network import Relaxation
from pipeline.relax.settings import RelaxSettings
from pipeline.search.costs import Costs
from pipeline.supernets.augment import resize
from pipeline.supernets.compute import device_of, on
from pipeline.supernets.data import TrainingData
from pipeline.supernets.files import below, load_weights, read_tensors, write_tensors
from pipeline.supernets.optimizers import make_optimizer, optimizer_tensors, restore_optimizer
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet

Batch = tuple[Tensor, Tensor]
_GRAD_CLIP = 5.0
_ADAM = (0.5, 0.999)  # as DARTS has it for its alphas (Liu et al. 2019)


@dataclass(frozen=True, slots=True)
class Relaxed:
    """What a relaxation learned. `multipliers`: what a limited log cost was worth at the end, in nats of loss."""

    gates: Gates
    steps: int
    losses: tuple[float, ...]
    multipliers: dict[str, float]


def relax(
    supernet: Supernet,
    data: TrainingData,
    costs: Costs,
    settings: RelaxSettings,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Relaxed:
    """Train the gates over the space of `supernet`, and its weights with them, in place.

    The limits in `costs` are kept in expectation while it trains. Where `checkpoint` exists the training goes on
    from it; it is rewritten every `checkpoint_seconds` and at the end. Raises PipelineError for a checkpoint of
    another training, and for a loss that is no number.
    """
    training = RelaxTraining(supernet, data, costs, settings)
    if checkpoint is not None and checkpoint.is_file():
        training.restore(checkpoint)
    supernet.train()
    saved = time.monotonic()
    while training.step < training.steps:
        training.advance()
        if progress is not None:
            progress(training.step, training.steps, f"loss {training.losses[-1]:.3f}")
        done = training.step == training.steps
        if checkpoint is not None and (done or time.monotonic() - saved >= settings.checkpoint_seconds):
            training.save(checkpoint)
            saved = time.monotonic()
    supernet.eval()
    named = zip(training.limits.names, training.limits.multipliers.tolist(), strict=True)
    return Relaxed(training.method.distribution(), training.steps, tuple(training.losses), dict(named))


class RelaxTraining:
    """The state of one training between two steps."""

    def __init__(self, supernet: Supernet, data: TrainingData, costs: Costs, settings: RelaxSettings) -> None:
        self.supernet, self.data, self.settings = supernet, data, settings
        self.device = device_of(supernet)  # of weights and images; gates are few and stay with the tables on the CPU
        self.relaxation = Relaxation(supernet)
        self.method: Method = METHODS[settings.method](supernet)
        order = torch.randperm(len(data), generator=self.generator("halves"))
        parts = (order[::2], order[1::2]) if self.method.halves else (order, order)
        self.weight_images, self.gate_images = parts
        self.batch_size = min(settings.batch_size, min(map(len, parts)))
        self.steps_per_epoch = len(self.weight_images) // self.batch_size
        self.steps = max(1, round(settings.epochs * self.steps_per_epoch))
        self.limits = Limits(costs, round(self.steps * (self.method.until - self.method.frozen)))
        self.step = 0
        self.losses: list[float] = []
        self.optimizer = make_optimizer(
            supernet, TrainSettings(recipe="alone", lr=settings.lr, weight_decay=settings.weight_decay)
        )
        self._gate_lr = self.method.travel / max(20, self.steps)
        self.gate_optimizer = torch.optim.Adam(self.method.parameters(), lr=self._gate_lr, betas=_ADAM)

    @property
    def progress(self) -> float:
        """How much of the training is done, from 0 to 1."""
        return self.step / self.steps

    @property
    def learns_gates(self) -> bool:
        """Whether gates learn in the present step."""
        return self.method.frozen <= self.progress < self.method.until

    def advance(self) -> None:
        """One update of the weights, and of the gates where they learn."""
        self.method.before_step(self)
        decay = 0.5 * (1 + math.cos(math.pi * self.progress))
        for optimizer, lr in ((self.optimizer, self.settings.lr), (self.gate_optimizer, self._gate_lr)):
            for group in optimizer.param_groups:
                group["lr"] = lr * decay
        learns = self.learns_gates
        if learns and self.method.halves:
            self.method.zero_grad(set_to_none=True)
            self.method.gate_gradients(self)
            self._update_gates()
        self.optimizer.zero_grad(set_to_none=True)
        self.method.zero_grad(set_to_none=True)
        together = learns and not self.method.halves
        gates = self.gates("weights")
        loss = self.loss(gates if together else gates.mapped(Tensor.detach), self.weight_batch())
        total = loss + self.method.penalty(self, gates) if together else loss
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), _GRAD_CLIP)
        self.optimizer.step()
        if together:
            self._update_gates()
        elif self.progress >= self.method.until:
            self.limits.update(gates)
        self.losses.append(float(loss.detach()))
        if not math.isfinite(self.losses[-1]):
            raise PipelineError(f"the relaxation diverged: the loss is no number; lower its lr = {self.settings.lr:g}")
        self.step += 1

    def gates(self, purpose: str) -> Gates:
        """The method's gates of this step; each purpose draws its own."""
        return self.method.gates(self.progress, self.generator(f"{purpose} gates {self.step}"))

    def loss(self, gates: Gates, batch: Batch) -> Tensor:
        """Cross-entropy (nats), a scalar, of the relaxed network on images (n, 3, size, size) and labels (n,)."""
        images, labels = batch
        return F.cross_entropy(self.logits(images, gates), labels)

    def weight_batch(self) -> Batch:
        """The images of this step that weights learn from, with their labels."""
        return self._batch(self.weight_images, "weights")

    def gate_batch(self, extra: int = 0) -> Batch:
        """The images of this step that gates learn from, with their labels; others for each number of `extra`."""
        return self._batch(self.gate_images, f"gates {extra}")

    def generator(self, purpose: str) -> torch.Generator:
        """Random numbers for one purpose."""
        digest = hashlib.blake2b(f"{self.settings.seed}/{purpose}".encode(), digest_size=7).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "big"))

    def _update_gates(self) -> None:
        self.gate_optimizer.step()
        with torch.no_grad():
            self.limits.update(self.gates("weights"))

    def logits(self, images: Tensor, gates: Gates) -> Tensor:
        """Logits (n, classes) at the likeliest resolutions: of several, two that are drawn (Cai et al. 2019, section
        3.2.1)."""
        weights, sizes = gates.resolutions, self.relaxation.space.resolutions
        if len(sizes) == 1:
            return self.relaxation(resize(images, sizes[0]), gates)
        chances = weights.detach().clamp(min=0) + 1e-6
        if not weights.requires_grad:
            (place,) = torch.multinomial(chances, 1, generator=self.generator(f"size {self.step}")).tolist()
            return self.relaxation(resize(images, sizes[place]), gates)
        places = torch.multinomial(chances, 2, generator=self.generator(f"size {self.step}")).tolist()
        both = [weights[place] * self.relaxation(resize(images, sizes[place]), gates) for place in places]
        return (both[0] + both[1]) / weights[places].detach().sum().clamp(min=1e-6)

    def _batch(self, part: Tensor, purpose: str) -> Batch:
        epoch, number = divmod(self.step, self.steps_per_epoch)
        order = torch.randperm(len(part), generator=self.generator(f"{purpose} epoch {epoch}"))
        indices = part[order[number * self.batch_size : (number + 1) * self.batch_size]]
        images, labels = self.data.training_batch(indices, self.generator(f"{purpose} augment {self.step}"))
        return on(self.device, images), on(self.device, labels)

    # -- state in a file --------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on."""
        tensors = {f"model.{name}": tensor for name, tensor in self.supernet.state_dict().items()}
        tensors |= {f"method.{name}": tensor for name, tensor in self.method.state_dict().items()}
        tensors |= {f"optimizer.{n}": t for n, t in optimizer_tensors(self.optimizer, self.supernet).items()}
        for name, parameter in self.method.named_parameters():
            tensors |= {f"adam.{name}.{k}": v for k, v in self.gate_optimizer.state.get(parameter, {}).items()}
        tensors["multipliers"] = self.limits.multipliers
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        write_tensors(path, tensors, {"kind": "relaxation", "step": self.step, "training": self._identity()})

    def restore(self, path: Path) -> None:
        """Go on from a file of `save`; PipelineError where it is of another training."""
        tensors, about = read_tensors(path, "relaxation")
        mine = self._identity()
        if about["training"] != mine:
            changed = sorted(k for k, v in mine.items() if about["training"].get(k) != v)
            raise PipelineError(f"{path} is the checkpoint of another relaxation ({', '.join(changed)} differ)")
        self.step, self.losses = about["step"], tensors["losses"].tolist()
        load_weights(self.supernet, below(tensors, "model"), path)
        load_weights(self.method, below(tensors, "method"), path)
        restore_optimizer(self.optimizer, self.supernet, below(tensors, "optimizer"))
        for name, parameter in self.method.named_parameters():
            self.gate_optimizer.state[parameter].update(below(tensors, f"adam.{name}"))
        self.limits.multipliers = tensors["multipliers"]

    def _identity(self) -> dict[str, object]:
        """What two runs must share to be the same training."""
        settings = asdict(self.settings)
        del settings["checkpoint_seconds"]
        return {
            **settings,
            "images": len(self.data),
            "limits": self.limits.described,
            "space": self.supernet.space.name,
        }
