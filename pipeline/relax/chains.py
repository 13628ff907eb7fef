"""The choices of a space as steps from small to large, each of which may be taken or not.

A kernel grows by rings, a middle by chunks of channels, squeeze-and-excitation from nothing by hidden channels, a stage
by channels and layers. The steps of one decision are
nested: one that is not taken ends its chain. So gates of steps, each from 0 to 1, are a distribution over options:
option j has the weight of all steps up to it times that the next one is not taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from operator import attrgetter
from typing import Final, Literal

import torch
from torch import Tensor

from pipeline.relax.gates import Gates, StageGates, real_ops
from pipeline.spaces.architecture import SKIP, Op
from pipeline.spaces.space import SearchSpace

StepKind = Literal["resolution", "width", "depth", "block", "kernel", "expand", "squeeze", "op"]


@dataclass(frozen=True, slots=True)
class Step:
    """From one option to the next larger one. `stage` and `layer` count from 1, 0 where they do not apply.

    `low` and `high` are values of what the kind names (pixels, channels, layers, ops of which all else is smallest);
    "block" is from the plain projection to an op. `parent` is the number of the step without which it means nothing.
    """

    kind: StepKind
    stage: int
    layer: int
    low: int | Op
    high: int | Op
    parent: int | None

    def __str__(self) -> str:
        place = f"stage{self.stage}." * (self.stage > 0) + f"layer{self.layer}." * (self.layer > 0)
        return f"{place}{self.kind} {self.low} to {self.high}"


_SIZE: Final = attrgetter("expand", "kernel", "squeeze")


class Chains:
    """All steps of a space, in a fixed order."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.steps: list[Step] = []
        self._resolution = self._chain("resolution", 0, 0, space.resolutions, None)
        self._stages = [self._stage_chains(number) for number in range(1, len(space.stages) + 1)]

    def gates(self, values: Tensor) -> Gates:
        """The distribution that step gates `values` (steps,) stand for."""
        stages = []
        for stage, (width, depth, block, slots) in zip(self.space.stages, self._stages, strict=True):
            ops = [
                _op_weights(real_ops(slot), [chain_weights(values[part]) for part in parts])
                for slot, parts in zip(stage.slots, slots, strict=True)
            ]
            keep = (
                values[block][0] if block.stop > block.start else values.new_tensor(float(SKIP not in stage.slots[0]))
            )
            stages.append(StageGates(chain_weights(values[width]), chain_weights(values[depth]), keep, tuple(ops)))
        return Gates(chain_weights(values[self._resolution]), tuple(stages))

    def _stage_chains(self, number: int) -> tuple[slice, slice, slice, list[list[slice]]]:
        stage = self.space.stages[number - 1]
        width = self._chain("width", number, 0, stage.widths, None)
        depth = self._chain("depth", number, 0, stage.depths, None)
        start = len(self.steps)
        if SKIP in stage.slots[0] and real_ops(stage.slots[0]):
            self.steps.append(Step("block", number, 1, SKIP, real_ops(stage.slots[0])[0], None))
        block = slice(start, len(self.steps))
        slots = []
        for layer, slot in enumerate(stage.slots, 1):
            # A layer is there by the step of the depth that reaches it; the first by not being the projection.
            reaching = [depth.start + i for i, deep in enumerate(stage.depths[1:]) if stage.depths[i] < layer <= deep]
            parent = reaching[0] if reaching else (block.start if layer == 1 and block.stop > block.start else None)
            slots.append(self._op_chains(number, layer, real_ops(slot), parent))
        return width, depth, block, slots

    def _op_chains(self, stage: int, layer: int, ops: tuple[Op, ...], parent: int | None) -> list[slice]:
        axes = factors(ops)
        if axes is None:
            chain = sorted(ops, key=_SIZE)
            return [self._chain("op", stage, layer, chain, parent)]
        (kernel, *_), (expand, *_), (squeeze, *_) = axes
        return [
            self._chain("kernel", stage, layer, [Op(k, expand, squeeze) for k in axes[0]], parent),
            self._chain("expand", stage, layer, [Op(kernel, e, squeeze) for e in axes[1]], parent),
            self._chain("squeeze", stage, layer, [Op(kernel, expand, s) for s in axes[2]], parent),
        ]

    def _chain(self, kind: StepKind, stage: int, layer: int, options: Sequence[int | Op], parent: int | None) -> slice:
        start = len(self.steps)
        for low, high in pairwise(options):
            self.steps.append(Step(kind, stage, layer, low, high, parent))
            parent = len(self.steps) - 1
        return slice(start, len(self.steps))


def factors(ops: Sequence[Op]) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]] | None:
    """The kernels, expand ratios and squeezes of which `ops` are all combinations; None where some are missing."""
    kernels, expands, squeezes = ({op.kernel for op in ops}, {op.expand for op in ops}, {op.squeeze for op in ops})
    complete = {Op(*aspects) for aspects in product(kernels, expands, squeezes)} == set(ops)
    return (tuple(sorted(kernels)), tuple(sorted(expands)), tuple(sorted(squeezes))) if complete and ops else None


def chain_weights(steps: Tensor) -> Tensor:
    """The weights (n + 1,) of the options of a chain whose n steps have gates `steps`; their sum is 1."""
    one, nothing = steps.new_ones(1), steps.new_zeros(1)
    reached = torch.cat([one, torch.cumprod(steps, 0)])
    return reached - torch.cat([reached[1:], nothing])


def _op_weights(ops: tuple[Op, ...], parts: Sequence[Tensor]) -> Tensor:
    """Weights over `ops`, in their order, from those of their kernels, ratios and squeezes, or of their one chain."""
    axes = factors(ops)
    if axes is None:
        chain = sorted(ops, key=_SIZE)
        return parts[0][[chain.index(op) for op in ops]]
    of_kernel = parts[0][[axes[0].index(op.kernel) for op in ops]]
    of_expand = parts[1][[axes[1].index(op.expand) for op in ops]]
    of_squeeze = parts[2][[axes[2].index(op.squeeze) for op in ops]]
    return of_kernel * of_expand * of_squeeze
