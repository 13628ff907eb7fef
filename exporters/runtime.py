"""Executing a written file: one small protocol for every runtime."""

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np

from exporters.errors import WrongInput
from exporters.request import Array
from exporters.stopwatch import median_ms

CHUNK: Final = 32  # images a call where the file takes any batch size


class Runtime(Protocol):
    """An opened file. Inputs are float32 NCHW images or, with folded preprocessing, uint8 pixels."""

    @property
    def by(self) -> str:
        """What executes the file, in words; the report prints it."""

    @property
    def metadata(self) -> dict[str, str]:
        """What was written into the file; empty where the format has no place for it."""

    def run(self, inputs: Array) -> Array:
        """Outputs (n, classes), float32, of any number n of inputs."""

    def latency_ms(self, inputs: Array) -> float | None:
        """Milliseconds of `inputs` (n, c, h, w) by `exporters.stopwatch`; None where no product uses this runtime."""

    def tensors(self, inputs: Array) -> list[tuple[str, Array]] | None:
        """Every intermediate result of one batch, by name and of any shape, in order of execution; None where out of
        reach."""


class InProcess:
    """What runtimes share that run in this process and show no intermediate results."""

    def run(self, inputs: Array) -> Array:
        """As `Runtime.run`."""
        raise NotImplementedError

    def latency_ms(self, inputs: Array) -> float | None:
        return median_ms(lambda: self.run(inputs))

    def tensors(self, inputs: Array) -> list[tuple[str, Array]] | None:
        return None


def in_batches(call: Callable[[Array], Array], inputs: Array, batch: int | None) -> Array:
    """Outputs (n, classes) of `call` on all `inputs` (n, …), `batch` at a time; a last incomplete fixed batch is
    padded.

    None means that any batch size is accepted.
    """
    outputs = []
    step = batch or CHUNK
    for start in range(0, len(inputs), step):
        part = inputs[start : start + step]
        count = len(part)
        if batch is not None and count < batch:
            part = np.concatenate([part, np.repeat(part[-1:], batch - count, axis=0)])
        outputs.append(call(part)[:count])
    return np.concatenate(outputs)


def probabilities(logits: Array) -> Array:
    """The softmax of logits (n, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def as_shaped(inputs: Array, image_shape: tuple[Any, ...], what: str) -> Array:
    """`inputs` with the channels where the file wants them, `image_shape` being one image's shape in it."""
    if inputs.shape[1:] == image_shape:
        return inputs
    moved = np.moveaxis(inputs, -1, 1)
    if moved.shape[1:] == image_shape:
        return np.ascontiguousarray(moved)
    raise WrongInput(f"{what} takes images of shape {image_shape}, these are {inputs.shape[1:]}")
