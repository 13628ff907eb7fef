"""Block modules without weights of their own, made once: to run shared weights through, or to copy and fill.

Making a module layer by layer costs more than copying its weights; a supernet that judges thousands of networks
makes each distinct block once and copies the bare structure.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from latency_tables.blocks import Block
from pipeline.supernets.modules import BlockModule

M = TypeVar("M", bound=nn.Module)


class MetaBlock:
    """The module of one block with places for its tensors."""

    def __init__(self, block: Block, batchnorm_eps: float) -> None:
        with torch.device("meta"):
            self.module = BlockModule(block, batchnorm_eps)
        self._places = tensor_places(self.module)

    def run(self, tensors: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
        """What the block computes from `x` (n, channels, h, w) with `tensors`, which may have a history that gradients
        go through.

        It is `torch.func.functional_call` without its bookkeeping, which takes as long as a small block.
        """
        y: Tensor = self.filled(tensors, training)(x)
        return y

    def filled(self, tensors: dict[str, Tensor], training: bool) -> BlockModule:
        """The module with `tensors`, in the shapes of its own, in their places, until the next call."""
        self._set_mode(training)
        for name, (owner, leaf) in self._places.items():
            owner[leaf] = tensors[name]
        return self.module

    def build(self, tensors: dict[str, Tensor], block: Block, training: bool) -> BlockModule:
        """A module of its own that owns `tensors`, in the shapes of `block`, which may differ from the meta block's in
        its input size."""
        self._set_mode(training)
        module = _copy_structure(self.module, tensors, "")
        module.block = block
        return module

    def _set_mode(self, training: bool) -> None:
        if self.module.training != training:
            self.module.train(training)


def tensor_places(module: nn.Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Where each tensor of `module` is kept, by its full name: a container and a key. Batch counters are left out."""
    return {
        f"{path}.{leaf}": (tensors, leaf)
        for path, layer in module.named_modules()
        for tensors in (layer._parameters, layer._buffers)
        for leaf, tensor in tensors.items()
        if tensor is not None and leaf != "num_batches_tracked"
    }


def twin(network: M) -> M:
    """The same network with the same weights, and statistics of its own."""
    shared = dict(network.named_parameters(remove_duplicate=False))
    return _copy_structure(network, {**shared, **{name: own.clone() for name, own in network.named_buffers()}}, "")


def _copy_structure(module: M, tensors: dict[str, Tensor], prefix: str) -> M:
    """A copy of `module` with containers of its own, filled with `tensors` as far as they are named."""
    twin = object.__new__(type(module))
    # Parameters, buffers, children and hooks live in dictionaries, which must not be shared.
    twin.__dict__.update({k: v.copy() if isinstance(v, dict | set) else v for k, v in module.__dict__.items()})
    for name, parameter in module._parameters.items():
        if parameter is not None:
            twin._parameters[name] = nn.Parameter(tensors[prefix + name])
    for name, buffer in module._buffers.items():
        if buffer is not None:
            twin._buffers[name] = tensors[prefix + name] if prefix + name in tensors else _no_batches()
    for name, child in module._modules.items():
        if child is not None:
            twin._modules[name] = _copy_structure(child, tensors, f"{prefix}{name}.")
    return twin


def _no_batches() -> Tensor:
    return torch.zeros((), dtype=torch.long)
