"""How good a network is on images, and a supernet's network with inherited weights."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.process import for_networks
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.augment import resize
from pipeline.supernets.batchnorm import fold_batchnorm, reestimate_batchnorm
from pipeline.supernets.compute import device_of, on
from pipeline.supernets.data import TrainingData
from pipeline.supernets.lanes import lanes_for, side_by_side
from pipeline.supernets.network import Network
from pipeline.supernets.supernet import Supernet

BATCH_SIZE: Final = 50  # the quickest on CPUs: what flows between two layers stays in the cache


@dataclass(frozen=True, slots=True)
class Score:
    """Shares of right answers and mean cross-entropy (nats) over `images` images."""

    accuracy: float
    cross_entropy: float
    images: int


def evaluate(
    network: nn.Module,
    images: Tensor | TrainingData,
    labels: Tensor,
    *,
    resolution: int | None = None,
    batch_size: int = BATCH_SIZE,
) -> Score:
    """Score of `network` in evaluation mode on normalised `images` (n, 3, h, w) and `labels` (n,).

    A set's images are taken as networks see them, a batch at a time, so that memory stays small. Images are scaled to
    `resolution` pixels; by default to the network's own. Raises PipelineError without images.
    """
    if not len(images):
        raise PipelineError("no images to evaluate on; at least one is needed")
    logits = _logits(network, images, _resolution(network, resolution), batch_size)
    right = int((logits.argmax(1) == labels).sum())
    loss = float(F.cross_entropy(logits, labels, reduction="sum"))
    return Score(right / len(images), loss / len(images), len(images))


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The class that a network gives each of n images, and how probable it takes it to be: shape (n,) each."""

    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def answers(network: Network, images: Tensor | TrainingData) -> Answers:
    """What a network in evaluation mode says of normalised `images` (n, 3, h, w), or of a set."""
    probabilities, classes = _logits(network, images, network.resolution, BATCH_SIZE).float().softmax(1).max(1)
    return Answers(classes.numpy(), probabilities.numpy())


def evaluate_inherited(
    supernet: Supernet,
    arch: Architecture,
    bn_images: Tensor,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int = BATCH_SIZE,
) -> Score:
    """Score of `arch` with inherited weights: taken from the supernet, statistics from `bn_images` (m, 3, h, w), tested
    on `images` (n, 3, h, w) and `labels` (n,)."""
    for_networks()
    network = supernet.extract(arch)
    refresh_batchnorm(network, bn_images, batch_size=batch_size)
    fold_batchnorm(network)
    return evaluate(network, images, labels, batch_size=batch_size)


def refresh_batchnorm(network: Network, images: Tensor | TrainingData, *, batch_size: int = BATCH_SIZE) -> None:
    """Re-estimate BatchNorm statistics on normalised `images` (n, 3, h, w) or a set, at the network's resolution."""
    size, device = network.resolution, device_of(network)
    batches = (_prepared(on(device, batch), size) for batch in in_batches(images, batch_size))
    reestimate_batchnorm(network, batches, lanes_for(network, -(-len(images) // batch_size)))


def in_batches(images: Tensor | TrainingData, size: int = BATCH_SIZE) -> Iterable[Tensor]:
    """Normalised images (n, 3, h, w) or those of a set, `size` at a time."""
    return torch.split(images, size) if isinstance(images, Tensor) else (batch for batch, _ in images.batches(size))


def _logits(network: nn.Module, images: Tensor | TrainingData, size: int, batch_size: int) -> Tensor:
    """Of `network` in evaluation mode, shape (n, classes), on the CPU; it is left in the mode that it was in."""
    training, device = network.training, device_of(network)
    lanes = lanes_for(network, -(-len(images) // batch_size)) if isinstance(network, Network) else 1

    @torch.inference_mode()
    def of_batch(batch: Tensor) -> Tensor:
        found: Tensor = network(_prepared(on(device, batch), size))
        return found

    network.eval()
    logits = torch.cat(list(side_by_side(of_batch, in_batches(images, batch_size), lanes))).cpu()
    network.train(training)
    return logits


def _prepared(images: Tensor, size: int) -> Tensor:
    return resize(images, size).contiguous(memory_format=torch.channels_last)


def _resolution(network: nn.Module, resolution: int | None) -> int:
    if resolution is not None:
        return resolution
    if isinstance(network, Network):
        return network.resolution
    if isinstance(network, Supernet):
        return network.active.resolution
    raise PipelineError(f"say the resolution for a {type(network).__name__}; only our own networks know theirs")
