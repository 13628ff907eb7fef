"""What a relaxed network costs: the sum over blocks, expected over its gates, and differentiable."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.relax.gates import Gates, slot_weights
from pipeline.spaces.cost import AdditiveCost


class ExpectedCost:
    """The expectation of an additive cost (milliseconds, MACs, …) under gates.

    It is linear in the weights of each decision, so hard gates give exactly the network's own sum. Nothing is
    assumed of how kernels and expand ratios interact: every entry of the table is its own.
    """

    def __init__(self, cost: AdditiveCost) -> None:
        self.space = cost.space
        parts = cost.parts
        self._stem = _double(parts.stem)
        self._stages = [
            (_double(stage.first), [_double(later[:, :, :-1]) for later in stage.later]) for stage in parts.stages
        ]
        self._head = _double(parts.head)

    def __call__(self, gates: Gates) -> Tensor:
        """The expected cost, a float64 scalar."""
        resolution = gates.resolutions.double().cpu()
        total = resolution @ self._stem
        before = torch.ones(1, dtype=torch.float64)
        for stage, own, (first, later) in zip(self.space.stages, gates.stages, self._stages, strict=True):
            width = own.widths.double().cpu()
            ops = slot_weights(stage.slots[0], own.keep, own.ops[0]).double().cpu()
            total = total + torch.einsum("r,b,w,o,rbwo->", resolution, before, width, ops, first)
            for there, weights, costs in zip(own.presence(stage)[1:], own.ops[1:], later, strict=True):
                layer = torch.einsum("r,w,o,rwo->", resolution, width, weights.double().cpu(), costs)
                total = total + there.double().cpu() * layer
            before = width
        return total + resolution @ self._head @ before


def _double(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
