"""What a space is made of: stem, stages with their choices, and head, and the blocks of each."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Final, Literal

from latency_tables.blocks import Activation, Block, Padding, round_channels
from pipeline.errors import PipelineError
from pipeline.spaces.architecture import SKIP, Op, StageChoice

SqueezeOf = Literal["none", "mid/4", "input/4"]
SQUEEZES: Final[tuple[SqueezeOf, ...]] = ("none", "mid/4", "input/4")


class SpaceError(PipelineError):
    """A space that is not well formed, or a restriction that leaves nothing."""


@dataclass(frozen=True, slots=True)
class Stem:
    """The fixed first convolution."""

    channels: int
    kernel: int = 3
    stride: int = 2
    activation: Activation = "hswish"
    padding: Padding = "symmetric"


@dataclass(frozen=True, slots=True)
class Head:
    """The fixed end: 1x1 convolution to `channels`, average pool, optional layer before the classifier, classifier.

    That layer is a `mix` (1x1 convolution without bias, as Once-for-All has it) or `hidden` (linear with bias, as
    MobileNetV3 was published); 0 leaves it out.
    """

    channels: int
    mix: int = 0
    hidden: int = 0
    activation: Activation = "hswish"

    def __post_init__(self) -> None:
        if self.mix and self.hidden:
            raise SpaceError(f"a head has a mix ({self.mix}) or a hidden layer ({self.hidden}), not both")


@dataclass(frozen=True, slots=True)
class Stage:
    """The choices of one stage. Only its first layer strides; `slots[i]` are the ops that layer i may be."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    slots: tuple[tuple[Op, ...], ...]
    stride: int
    activation: Activation
    squeeze: SqueezeOf = "none"
    padding: Padding = "symmetric"

    def __post_init__(self) -> None:
        for name, values in (("widths", self.widths), ("depths", self.depths), ("slots", self.slots)):
            if not values:
                raise SpaceError(f"a stage has no {name} left to choose from")
        if not all(map(increases, (self.widths, self.depths, *self.slots))):
            raise SpaceError("widths, depths and ops of a stage must be sorted and without repeats")
        if min(*self.widths, *self.depths) < 1 or len(self.slots) != max(self.depths):
            raise SpaceError(f"a stage of depths {self.depths} needs ops for {max(self.depths)} layers")
        if not all(self.slots) or any(SKIP in ops for ops in self.slots[1:]):
            raise SpaceError("each layer needs an op; only the first layer of a stage may be 'skip'")
        if self.squeeze != "none" and any(op.squeeze for ops in self.slots for op in ops):
            raise SpaceError(f"squeeze is {self.squeeze!r} for all ops; where ops have their own it must be 'none'")

    def layer_counts(self) -> dict[int, int]:
        """Depth -> how many distinct op sequences have it."""
        return {depth: math.prod(len(ops) for ops in self.slots[:depth]) for depth in self.depths}

    def choices(self) -> Iterator[StageChoice]:
        """Every choice of this stage, in a fixed order."""
        for width, depth in product(self.widths, self.depths):
            for ops in product(*self.slots[:depth]):
                yield StageChoice(width, ops)

    def first_block(self, size: int, channels: int, width: int, op: Op) -> Block:
        """The block of the first layer, which strides and changes the channels."""
        return self._block(size, channels, width, op, self.stride)

    def later_block(self, size: int, width: int, op: Op) -> Block:
        """The block of any layer but the first; `size` is the stage's output size."""
        return self._block(size, width, width, op, 1)

    def _block(self, size: int, channels: int, width: int, op: Op, stride: int) -> Block:
        if op == SKIP:
            return Block("conv", size, channels, width, 1, stride)
        mid = round_channels(channels * op.expand) if op.expand > 1 else channels
        squeezed = {
            "none": round_channels(mid * op.squeeze) if op.squeeze else 0,
            "mid/4": round_channels(mid // 4),
            "input/4": max(1, channels // 4),
        }[self.squeeze]
        return Block(
            "mbconv",
            size,
            channels,
            width,
            op.kernel,
            stride,
            mid,
            squeezed,
            self.activation,
            residual=stride == 1 and channels == width,
            padding=self.padding,
        )


def increases(values: Sequence[Any]) -> bool:
    """Whether each value is larger than the one before."""
    return all(one < other for one, other in pairwise(values))
