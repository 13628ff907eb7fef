"""How large the weights are that each step of a space adds, beside those that it adds them to."""

from dataclasses import dataclass

import torch
from torch import Tensor

from latency_tables.blocks import Block
from pipeline.relax.chains import Chains, Step
from pipeline.relax.gates import real_ops
from pipeline.spaces.architecture import Op
from pipeline.supernets.supernet import Supernet, position_key


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Some entries of one tensor of the shared weights at `key`."""

    key: str
    tensor: str
    mask: Tensor


class Importances:
    """Root mean square of the weights that a step adds, divided by that of the weights that it adds them to.

    The published method compares sums of squares (Stamoulis et al. 2019, eq. 3), whose size is that of the layer; a
    ratio is near 1 in every layer, so that thresholds of one scale serve all. Depthwise weights speak for kernels,
    ratios and layers, projections for widths, those of the hidden channels for squeeze-and-excitation (where all of it
    is new, beside the depthwise weights that it scales). A resolution adds no weights and the projection that a first
    layer replaces is no part of it: 1.
    """

    def __init__(self, chains: Chains, supernet: Supernet) -> None:
        self._space, self._supernet = chains.space, supernet
        self._parts = [self._added_and_kept(step) for step in chains.steps]

    def __call__(self) -> Tensor:
        """The present importances (steps,), on the CPU as gates are, differentiable by the weights."""
        return torch.stack(
            [(self._rms(added) / self._rms(kept)).cpu() if added else torch.ones(()) for added, kept in self._parts]
        )

    def _rms(self, parts: list[_Part]) -> Tensor:
        entries = [self._supernet.shared(p.key).weights.get_parameter(p.tensor)[p.mask] for p in parts]
        return torch.cat(entries).square().mean().sqrt()

    def _added_and_kept(self, step: Step) -> tuple[list[_Part], list[_Part]]:
        low, high = step.low, step.high
        if isinstance(low, Op) and isinstance(high, Op):
            return ([], []) if step.kind == "block" else self._between(step, low, high)
        if isinstance(low, Op) or isinstance(high, Op) or step.kind == "resolution":
            return [], []
        smallest = [real_ops(slot)[:1] for slot in self._space.stages[step.stage - 1].slots]
        if step.kind == "width":
            return ([], []) if not smallest[0] else self._rows(step, smallest[0][0], low, high)
        if not smallest[low - 1]:
            return [], []
        layers = [self._region(step.stage, layer, *smallest[layer - 1]) for layer in range(low, high + 1)]
        return layers[1:], layers[:1]

    def _between(self, step: Step, low: Op, high: Op) -> tuple[list[_Part], list[_Part]]:
        small, large = self._region(step.stage, step.layer, low), self._region(step.stage, step.layer, high)
        if small.key != large.key:
            return [large], [small]
        if step.kind == "squeeze":
            before, after = self._hidden(step, low), self._hidden(step, high)
            added = [_Part(b.key, b.tensor, b.mask & ~a.mask) for a, b in zip(before, after, strict=True)]
            return [part for part in added if part.mask.any()], before if low.squeeze else [small]
        return [_Part(large.key, large.tensor, large.mask & ~small.mask)], [small]

    def _rows(self, step: Step, op: Op, low: int, high: int) -> tuple[list[_Part], list[_Part]]:
        key = position_key(step.stage, 1, op, self._supernet.sharing)
        weight = self._supernet.shared(key).weights.get_parameter("project.weight")
        rows = torch.arange(len(weight)).view(-1, 1, 1, 1).expand_as(weight)
        return [_Part(key, "project.weight", (rows >= low) & (rows < high))], [_Part(key, "project.weight", rows < low)]

    def _region(self, stage: int, layer: int, op: Op) -> _Part:
        """The depthwise weights of `op` at the most channels that it may get."""
        key = position_key(stage, layer, op, self._supernet.sharing)
        weight = self._supernet.shared(key).weights.get_parameter("depthwise.weight")
        block = self._largest(stage, layer, op)
        edge = (weight.shape[-1] - op.kernel) // 2
        mask = torch.zeros(weight.shape, dtype=torch.bool)
        mask[: block.mid_channels, :, edge : weight.shape[-1] - edge, edge : weight.shape[-1] - edge] = True
        return _Part(key, "depthwise.weight", mask)

    def _hidden(self, step: Step, op: Op) -> list[_Part]:
        """What the hidden channels of the squeeze-and-excitation of `op` read and write; none where it has none."""
        key, block = (
            position_key(step.stage, step.layer, op, self._supernet.sharing),
            self._largest(step.stage, step.layer, op),
        )
        parts = []
        for name, axis in (("squeeze.reduce.weight", 0), ("squeeze.expand.weight", 1)):
            mask = torch.zeros(self._supernet.shared(key).weights.get_parameter(name).shape, dtype=torch.bool)
            mask.transpose(0, axis)[: block.se_channels] = True
            parts.append(_Part(key, name, mask))
        return parts

    def _largest(self, stage: int, layer: int, op: Op) -> Block:
        """The block of `op` with the most channels that it may get."""
        choices = self._space.stages[stage - 1]
        before = self._space.stages[stage - 2].widths[-1] if stage > 1 else self._space.stem.channels
        channels = before if layer == 1 else choices.widths[-1]
        return choices.first_block(1, channels, 1, op) if layer == 1 else choices.later_block(1, channels, op)
