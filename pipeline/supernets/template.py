"""Block modules without weights of their own, made once: to run shared weights through, or to copy and fill.

Making a module layer by layer costs more than copying its weights; a supernet that judges thousands of networks
makes each distinct block once and copies the bare structure.
"""

from copy import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from latency_tables.blocks import Block
from pipeline.supernets.modules import BlockModule

M = TypeVar("M", bound=nn.Module)


class Template:
    """The module of one block with places for its tensors."""

    def __init__(self, block: Block) -> None:
        with torch.device("meta"):
            self.module = BlockModule(block)
        self._places = [
            (tensors, leaf, f"{path}.{leaf}")
            for path, layer in self.module.named_modules()
            for tensors in (layer._parameters, layer._buffers)
            for leaf, tensor in tensors.items()
            if tensor is not None and leaf != "num_batches_tracked"
        ]

    def run(self, tensors: dict[str, Tensor], x: Tensor, training: bool) -> Tensor:
        """What the block computes from `x` with `tensors`, which may have a history that gradients go through.

        It is `torch.func.functional_call` without its bookkeeping, which takes as long as a small block.
        """
        if self.module.training != training:
            self.module.train(training)
        for place, leaf, name in self._places:
            place[leaf] = tensors[name]
        y: Tensor = self.module(x)
        return y

    def build(self, tensors: dict[str, Tensor], block: Block) -> BlockModule:
        """A module of its own that owns `tensors`; `block` may differ from the template's in its input size."""
        module = _copy_structure(self.module, tensors, "")
        module.block = block
        return module


def _copy_structure(module: M, tensors: dict[str, Tensor], prefix: str) -> M:
    """A copy of `module` with containers of its own, filled with `tensors` as far as they are named."""
    twin = copy(module)
    for name, value in module.__dict__.items():
        if isinstance(value, dict | set):  # parameters, buffers, children and hooks must not be shared
            twin.__dict__[name] = value.copy()
    for name, parameter in module._parameters.items():
        if parameter is not None:
            twin._parameters[name] = nn.Parameter(tensors[prefix + name])
    for name, buffer in module._buffers.items():
        if buffer is not None:
            twin._buffers[name] = tensors.get(prefix + name, torch.zeros((), dtype=torch.long))
    for name, child in module._modules.items():
        if child is not None:
            twin._modules[name] = _copy_structure(child, tensors, f"{prefix}{name}.")
    return twin
