"""Which layer of a network does a written file compute differently first?

Formats rename and fuse layers, so layers are found by what they compute: a layer is reproduced when a
tensor of the file, behind those of the layers before it, has its size and its values. All layers are
walked, as a bisection would need errors that only grow. Imports torch: import lazily.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from exporters.request import Array

FOLDED_INTO = (nn.modules.batchnorm._BatchNorm,)
DRIFTED = 0.02  # relative error from which on a layer counts as different
FOUND = 0.5  # relative error up to which a tensor is taken for the layer's
JUMP = 4.0  # times the largest error of the layers before it


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far the closest tensor of the file is from a layer's output: 0 the same, 1 unrelated."""

    layer: str
    relative_error: float


def first_drift(network: nn.Module, images: Array, tensors: list[tuple[str, Array]] | None) -> str:
    """One clause for an error message; `images` are (n, 3, h, w), `tensors` are what the file computed for just these
    `images`."""
    if tensors is None:
        return "which layer drifts first is not visible in this format"
    errors = layer_errors(network, images, tensors)
    before = 0.0  # the largest so far: rounding noise differs from layer to layer
    for number, found in enumerate(errors):
        # A layer that its successor was fused into is in no tensor of the file; the successor then agrees.
        following = errors[min(number + 1, len(errors) - 1)]
        lasting = min(found.relative_error, following.relative_error)
        if lasting > DRIFTED and lasting > JUMP * before:
            return (
                f"layer {found.layer!r} ({number + 1} of {len(errors)}) drifts first: relative error"
                f" {found.relative_error:.2g}, at most {before:.2g} before it"
            )
        before = max(before, lasting)
    worst = max(errors, key=lambda e: e.relative_error, default=None)
    if worst is None:
        return "the network has no layers to compare"
    return f"no single layer drifts; the largest relative error is {worst.relative_error:.2g} in {worst.layer!r}"


def layer_errors(network: nn.Module, images: Array, tensors: list[tuple[str, Array]]) -> list[LayerError]:
    """Of every leaf module that is run on `images` (n, 3, h, w), in order of execution; those that a BatchNorm follows
    are folded, so left out."""
    candidates: dict[int, list[tuple[int, Array]]] = {}
    for position, (_, values) in enumerate(tensors):
        if values.ndim and np.issubdtype(values.dtype, np.floating):
            candidates.setdefault(values.size, []).append((position, values.astype(np.float32)))
    found: list[LayerError] = []
    reached, previous = -1, np.empty(0)
    for name, output in layer_outputs(network, images):
        # What a layer computes comes after what the layer before it computed, unless it changed nothing.
        passes = output.size == previous.size and np.array_equal(output.ravel(), previous.ravel())
        first = reached if passes else reached + 1
        later = [(position, values) for position, values in candidates.get(output.size, []) if position >= first]
        error, position = _closest(output, later)
        if error < FOUND:
            reached = max(reached, position)
        found.append(LayerError(name, error))
        previous = output
    return found


def layer_outputs(network: nn.Module, images: Array) -> list[tuple[str, Array]]:
    """Name and output of every leaf module that the network calls on `images` (n, 3, h, w), in that order."""
    recorded: list[tuple[str, torch.Tensor]] = []
    folded: set[int] = set()

    def record(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, arguments: tuple[torch.Tensor, ...], output: object) -> None:
            if not isinstance(output, torch.Tensor):
                return  # of several results it is not known which one the file keeps
            if isinstance(module, FOLDED_INTO) and arguments:
                folded.add(id(arguments[0]))
            recorded.append((name, output))

        handles.append(module.register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name, module in network.named_modules():
        if not any(module.children()):
            record(name or type(module).__name__, module)
    try:
        with torch.no_grad():
            network(torch.from_numpy(np.ascontiguousarray(images)))
    finally:
        for handle in handles:
            handle.remove()
    return [(name, output.float().numpy()) for name, output in recorded if id(output) not in folded]


def _closest(output: Array, candidates: list[tuple[int, Array]]) -> tuple[float, int]:
    errors = [(min(_distances(output, values)), position) for position, values in candidates]
    return min(errors, default=(1.0, -1))


def _distances(output: Array, candidate: Array) -> list[float]:
    """Relative error of the candidate as it is, and with its last axis as channels, as some formats keep them."""
    arranged = [candidate.reshape(output.shape)]
    if candidate.ndim == 4:
        arranged.append(np.moveaxis(candidate, -1, 1).reshape(output.shape))
    return [_relative(output, values) for values in arranged]


def _relative(output: Array, values: Array) -> float:
    """Root mean square error over that of `output`, per channel, at most 1; then the mean over channels.

    One large channel would otherwise hide that all others were lost.
    """
    axes = tuple(axis for axis in range(output.ndim) if axis != 1)
    error = np.sqrt(np.mean(np.square(values - output, dtype=np.float64), axis=axes))
    scale = np.sqrt(np.mean(np.square(output, dtype=np.float64), axis=axes))
    relative = np.divide(error, scale, out=(error > 0).astype(np.float64), where=scale > 0)
    return float(np.mean(np.clip(np.nan_to_num(relative, nan=1.0, posinf=1.0), 0, 1)))
