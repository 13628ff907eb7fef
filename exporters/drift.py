"""Which layer of a network does a written file compute differently first?

Formats rename, fuse and reorder layers, so layers are found by what they compute: a layer is reproduced
when some intermediate tensor of the file has its size and its values. Walking all layers once needs no
assumption that the error grows from layer to layer, which a bisection would. Imports torch: import lazily.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from exporters.request import Array

FOLDED_INTO = (nn.modules.batchnorm._BatchNorm,)
DRIFTED = 0.02  # relative error from which on a layer counts as different
JUMP = 4.0  # times the error of the best layer so far


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far the closest tensor of the file is from a layer's output: root mean square, relative."""

    layer: str
    relative_error: float


def first_drift(network: nn.Module, images: Array, tensors: list[tuple[str, Array]] | None) -> str:
    """One clause for an error message."""
    if tensors is None:
        return "which layer drifts first is not visible in this format"
    errors = layer_errors(network, images, tensors)
    for before, (number, found) in zip([0.0, *(e.relative_error for e in errors)], enumerate(errors), strict=False):
        if found.relative_error > DRIFTED and found.relative_error > JUMP * before:
            return (
                f"layer {found.layer!r} ({number + 1} of {len(errors)}) drifts first: relative error"
                f" {found.relative_error:.2g}, {before:.2g} before it"
            )
    worst = max(errors, key=lambda e: e.relative_error, default=None)
    if worst is None:
        return "the network has no layers to compare"
    return f"no single layer drifts; the largest relative error is {worst.relative_error:.2g} in {worst.layer!r}"


def layer_errors(network: nn.Module, images: Array, tensors: list[tuple[str, Array]]) -> list[LayerError]:
    """Of every leaf module, in order of execution; those that a BatchNorm follows are folded, so left out."""
    candidates: dict[int, list[Array]] = {}
    for _, values in tensors:
        if values.ndim and np.issubdtype(values.dtype, np.floating):
            candidates.setdefault(values.size, []).append(values.astype(np.float32))
    found = []
    for name, output in layer_outputs(network, images[: _batch(tensors, len(images))]):
        found.append(LayerError(name, _closest(output, candidates.get(output.size, []))))
    return found


def layer_outputs(network: nn.Module, images: Array) -> list[tuple[str, Array]]:
    """Name and output of every leaf module that the network calls, in that order."""
    recorded: list[tuple[str, torch.Tensor]] = []
    folded: set[int] = set()

    def record(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
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


def _batch(tensors: list[tuple[str, Array]], images: int) -> int:
    return min(images, next((len(values) for _, values in tensors if values.ndim == 4), images))


def _closest(output: Array, candidates: list[Array]) -> float:
    scale = float(np.sqrt(np.mean(np.square(output)))) or 1.0
    errors = [_distance(output, candidate) / scale for candidate in candidates]
    return min((error for error in errors if np.isfinite(error)), default=float("inf"))


def _distance(output: Array, candidate: Array) -> float:
    """Root mean square; also with the candidate's channels moved to the front, as some formats keep them last."""
    arranged = [candidate.reshape(-1)]
    if candidate.ndim == 4:
        arranged.append(np.moveaxis(candidate, -1, 1).reshape(-1))
    return min(float(np.sqrt(np.mean(np.square(flat - output.reshape(-1))))) for flat in arranged)
