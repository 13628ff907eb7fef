"""Search spaces: which networks there are, how many, and the blocks that each is made of.

Every space is a product of choices with canonical points, so counting, uniform sampling and restriction are
exact. A restricted space is a space itself: a few-shot partition is a list of disjoint ones.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Final

from latency_tables.blocks import Block, Padding
from pipeline.spaces.architecture import Architecture, ArchitectureError, StageChoice
from pipeline.spaces.stage import Head, SpaceError, Stage, Stem, increases

BATCHNORM_EPS: Final = 1e-5  # of torch, and of every file that does not say


@dataclass(frozen=True)
class SearchSpace:
    """A set of networks: input resolutions, a stem, stages with choices, a head and a number of classes.

    `batchnorm_eps` is what BatchNorm adds to variances: no part of what a network costs, but of what it computes.
    """

    name: str
    classes: int
    resolutions: tuple[int, ...]
    stem: Stem
    stages: tuple[Stage, ...]
    head: Head
    base: Architecture | None = None
    batchnorm_eps: float = BATCHNORM_EPS

    def __post_init__(self) -> None:
        if not self.resolutions or not increases(self.resolutions):
            raise SpaceError(f"resolutions of space {self.name!r} must be sorted and without repeats")
        if not self.stages:
            raise SpaceError(f"space {self.name!r} has no stages")
        if self.classes < 2:
            raise SpaceError(f"space {self.name!r} has {self.classes} classes; at least 2 are needed")
        if not 0 < self.batchnorm_eps < 1:
            raise SpaceError(f"batchnorm_eps of space {self.name!r} is {self.batchnorm_eps}; it is between 0 and 1")
        if {stage.padding for stage in self.stages} != {self.stem.padding}:
            raise SpaceError(f"stem and stages of space {self.name!r} are padded differently")
        if self.base is not None and not self.contains(self.base):
            object.__setattr__(self, "base", None)  # a restriction may leave the base outside

    # -- membership and lowering ------------------------------------------------------------------

    def contains(self, arch: Architecture) -> bool:
        """Whether `arch` is a point of this space."""
        return self._objection(arch) is None

    def check(self, arch: Architecture) -> None:
        """Raise ArchitectureError, naming the first value that this space does not offer."""
        objection = self._objection(arch)
        if objection is not None:
            raise ArchitectureError(f"architecture {arch} is not in space {self.name!r}: {objection}")

    def _objection(self, arch: Architecture) -> str | None:
        if arch.resolution not in self.resolutions:
            return f"resolution {arch.resolution} is not among {list(self.resolutions)}"
        if len(arch.stages) != len(self.stages):
            return f"it has {len(arch.stages)} stages instead of {len(self.stages)}"
        for number, (choice, stage) in enumerate(zip(arch.stages, self.stages, strict=True), 1):
            if choice.width not in stage.widths:
                return f"width {choice.width} of stage {number} is not among {list(stage.widths)}"
            if len(choice.ops) not in stage.depths:
                return f"depth {len(choice.ops)} of stage {number} is not among {list(stage.depths)}"
            for layer, (op, ops) in enumerate(zip(choice.ops, stage.slots, strict=False), 1):
                if op not in ops:
                    known = ", ".join(map(str, ops))
                    return f"op {op} of stage {number} layer {layer} is not among {known}"
        return None

    def blocks(self, arch: Architecture) -> tuple[Block, ...]:
        """The blocks that a device executes for `arch`, in order."""
        self.check(arch)
        blocks = [self.stem_block(arch.resolution)]
        for stage, choice in zip(self.stages, arch.stages, strict=True):
            last = blocks[-1]
            blocks.append(stage.first_block(last.out_size, last.out_channels, choice.width, choice.ops[0]))
            size = blocks[-1].out_size
            blocks.extend(stage.later_block(size, choice.width, op) for op in choice.ops[1:])
        return (*blocks, *self.head_blocks(blocks[-1].out_size, blocks[-1].out_channels))

    def stem_block(self, resolution: int) -> Block:
        """The first convolution at an input of `resolution` pixels."""
        stem = self.stem
        return Block(
            "conv",
            resolution,
            3,
            stem.channels,
            stem.kernel,
            stem.stride,
            activation=stem.activation,
            padding=stem.padding,
        )

    def head_blocks(self, size: int, channels: int) -> tuple[Block, ...]:
        """The blocks after the last stage, whose output is `channels` x `size` x `size`."""
        head = self.head
        blocks = [Block("conv", size, channels, head.channels, activation=head.activation)]
        blocks.append(Block("pool", size, head.channels, head.channels))
        if head.mix:
            blocks.append(Block("mix", 1, head.channels, head.mix, activation=head.activation))
        if head.hidden:
            blocks.append(Block("linear", 1, head.channels, head.hidden, activation=head.activation))
        return (*blocks, Block("linear", 1, blocks[-1].out_channels, self.classes))

    def sizes(self, resolution: int) -> tuple[int, ...]:
        """Input size in pixels of each stage, then of the head."""
        sizes = [self.stem_block(resolution).out_size]
        for stage in self.stages:
            sizes.append(-(-sizes[-1] // stage.stride))
        return tuple(sizes)

    def distinct_blocks(self) -> tuple[Block, ...]:
        """Each block that some network of the space has, once, sorted by key: what a table must measure."""
        blocks: set[Block] = set()
        for resolution in self.resolutions:
            sizes = self.sizes(resolution)
            channels: tuple[int, ...] = (self.stem.channels,)
            blocks.add(self.stem_block(resolution))
            for stage, size, after in zip(self.stages, sizes[:-1], sizes[1:], strict=True):
                blocks.update(
                    stage.first_block(size, c, w, op) for c, w, op in product(channels, stage.widths, stage.slots[0])
                )
                blocks.update(
                    stage.later_block(after, width, op)
                    for layer, ops in enumerate(stage.slots[1:], 2)
                    if layer <= max(stage.depths)
                    for width, op in product(stage.widths, ops)
                )
                channels = stage.widths
            for c in channels:
                blocks.update(self.head_blocks(sizes[-1], c))
        return tuple(sorted(blocks, key=lambda block: block.key))

    # -- counting and sampling --------------------------------------------------------------------

    @cached_property
    def size(self) -> int:
        """The exact number of distinct networks."""
        per_stage = (len(s.widths) * sum(s.layer_counts().values()) for s in self.stages)
        return len(self.resolutions) * math.prod(per_stage)

    def enumerate(self) -> Iterator[Architecture]:
        """Every network once, in a fixed order."""
        for resolution in self.resolutions:
            for stages in product(*(list(stage.choices()) for stage in self.stages)):
                yield Architecture(resolution, stages)

    def sample(self, rng: random.Random) -> Architecture:
        """One network, uniform over the *distinct* networks (deep stages, having more, come up more often)."""
        return self._sample(rng, over_networks=True)

    def sample_genes(self, rng: random.Random) -> Architecture:
        """One network, uniform over genes: each depth equally likely, as supernets are usually trained."""
        return self._sample(rng, over_networks=False)

    def _sample(self, rng: random.Random, over_networks: bool) -> Architecture:
        stages = []
        for stage in self.stages:
            counts = stage.layer_counts()
            weights = list(counts.values()) if over_networks else [1] * len(counts)
            depth = rng.choices(list(counts), weights)[0]
            ops = tuple(rng.choice(slot) for slot in stage.slots[:depth])
            stages.append(StageChoice(rng.choice(stage.widths), ops))
        return Architecture(rng.choice(self.resolutions), tuple(stages))

    # -- subspaces and named points ---------------------------------------------------------------

    def with_classes(self, classes: int) -> "SearchSpace":
        """The same choices for another number of classes."""
        return replace(self, classes=classes)

    def with_base(self, base: Architecture) -> "SearchSpace":
        """The same choices, built around `base`."""
        return replace(self, base=base)

    def with_resolutions(self, resolutions: Sequence[int]) -> "SearchSpace":
        """The same stages for other input sizes (pixels)."""
        return replace(self, resolutions=tuple(sorted(set(resolutions))))

    @property
    def padding(self) -> Padding:
        """That of the stem and of all layers."""
        return self.stem.padding

    def with_numerics(self, padding: Padding, batchnorm_eps: float) -> "SearchSpace":
        """The same networks with the padding and the BatchNorm epsilon that published weights were trained with."""
        stages = tuple(replace(stage, padding=padding) for stage in self.stages)
        return replace(self, stem=replace(self.stem, padding=padding), stages=stages, batchnorm_eps=batchnorm_eps)

    def with_stage(self, index: int, stage: Stage) -> "SearchSpace":
        """The same space with stage `index` (from 0) replaced, for example by a narrower one."""
        return replace(self, stages=(*self.stages[:index], stage, *self.stages[index + 1 :]))

    def max(self) -> Architecture:
        """The largest choice everywhere."""
        return Architecture(
            self.resolutions[-1],
            tuple(StageChoice(s.widths[-1], tuple(ops[-1] for ops in s.slots[: s.depths[-1]])) for s in self.stages),
        )

    def min(self) -> Architecture:
        """The smallest choice everywhere."""
        return Architecture(
            self.resolutions[0],
            tuple(StageChoice(s.widths[0], tuple(ops[0] for ops in s.slots[: s.depths[0]])) for s in self.stages),
        )
