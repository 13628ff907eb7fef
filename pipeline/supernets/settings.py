"""How a supernet or a network is trained, as plain data."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from pipeline.errors import PipelineError

Optimizer = Literal["sgd", "adamw"]
Precision = Literal["fp32", "bf16", "fp16"]
OPTIMIZERS: Final[tuple[Optimizer, ...]] = get_args(Optimizer)
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Stochastic gradient descent with Nesterov momentum, or AdamW; cosine schedule and warm-up.

    `recipe` is a key of RECIPES; a training that `continues` another has only its last phase, and a network without
    choices trains "alone". `batch_size` counts the images of one update, over all processes. `lr` is the peak learning
    rate; `warmup` the share of the steps in which it rises; `momentum` that of SGD, or of AdamW's mean gradient. Weight
    decay leaves out BatchNorm, biases and kernel transforms. `grad_clip` bounds the gradient's norm; `ema_decay` keeps
    a running average of the weights, which the model ends with. `mixup` blends each batch with itself in reverse, in a
    proportion drawn from Beta(mixup, mixup) (Zhang et al. 2018); 0: not at all. Below `fp32` precision the forward pass
    is torch's automatic mixture, and weights stay 32-bit. Everything random derives from `seed` and the number of the
    step.
    """

    recipe: str = "sandwich"
    epochs: float = 10.0
    batch_size: int = 64
    lr: float = 0.05
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    weight_decay: float = 3e-5
    label_smoothing: float = 0.1
    mixup: float = 0.0
    warmup: float = 0.05
    grad_clip: float | None = None
    ema_decay: float | None = None
    seed: int = 0
    checkpoint_seconds: float = 60.0
    precision: Precision = "fp32"
    continues: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 0.0, 1e6),
            ("batch_size", 1, 1 << 20),
            ("lr", 0.0, 1e3),
            ("momentum", 0.0, 1.0),
            ("weight_decay", 0.0, 1.0),
            ("label_smoothing", 0.0, 1.0),
            ("mixup", 0.0, 10.0),
            ("warmup", 0.0, 1.0),
            ("checkpoint_seconds", 0.0, 1e6),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise PipelineError(f"train setting {name} is {value}; accepted is {low} to {high}")
        if self.optimizer not in OPTIMIZERS:
            known = ", ".join(OPTIMIZERS)
            raise PipelineError(f"train setting optimizer is {self.optimizer!r}; known are {known}")
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise PipelineError(f"train setting precision is {self.precision!r}; known are {known}")
        if self.grad_clip is not None and self.grad_clip <= 0:
            raise PipelineError(f"train setting grad_clip is {self.grad_clip}; it must be above 0")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise PipelineError(f"train setting ema_decay is {self.ema_decay}; it must be between 0 and 1")
