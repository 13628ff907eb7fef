"""A supernet: every network of a space in one set of shared weights."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Literal, Self

import torch
from torch import Tensor, nn

from latency_tables.blocks import Block
from pipeline.errors import PipelineError
from pipeline.spaces.architecture import SKIP, Architecture, Op
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.meta_block import MetaBlock
from pipeline.supernets.modules import initialise
from pipeline.supernets.network import Network
from pipeline.supernets.shared_weights import SharedWeights

Sharing = Literal["nested", "separate"]
Dropping = Callable[[Tensor], Tensor]
Placed = list[tuple[str, Block]]  # the blocks of a network, each with the key of the weights that it shares


class SupernetError(PipelineError):
    """A supernet asked for what its space or its weights do not offer."""


class Supernet(nn.Module):
    """Shared weights of `space`; a network of it is `activate`d and run, or `extract`ed.

    `sharing="nested"`: all ops of a layer slice the same weights (Once-for-All). `"separate"`: each op has weights of
    its own (single-path one-shot). Weights are keyed by meaning (stage, layer, op), never by option index, so
    a region of the space finds its weights in its parent.
    """

    def __init__(self, space: SearchSpace, sharing: Sharing = "nested", seed: int = 0) -> None:
        super().__init__()
        self.space = space
        self.sharing: Sharing = sharing
        # Called as the tensors of saved supernets are.
        self.banks = nn.ModuleDict({key: SharedWeights(*shape) for key, shape in _bounds(space, sharing).items()})
        initialise(self, seed)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._meta_blocks: dict[Block, MetaBlock] = {}
        self.activate(space.max())

    def sample(self, rng: random.Random) -> Architecture:
        """A network of the space, uniform over genes, as supernets are trained."""
        return self.space.sample_genes(rng)

    def activate(self, arch: Architecture, paths: Sequence[Sequence[Op]] = ()) -> None:
        """Let `forward` compute `arch`; ArchitectureError where the space does not contain it.

        With `paths`, each layer of `arch` computes the sum of these ops instead, with one shortcut where it has any; a
        layer without ops is an identity, which it must have a shortcut for.
        """
        self._active = [(placed,) for placed in self.place(arch)] if not paths else self._side_by_side(arch, paths)
        self.active = arch

    def forward(self, x: Tensor, drop: Dropping | None = None) -> Tensor:
        """Logits (n, classes) of the active network for images (n, 3, s, s); `drop` changes the classifier's input."""
        for number, placed in enumerate(self._active, 1):
            if drop is not None and number == len(self._active):
                x = drop(x)
            if len(placed) == 1:
                x = self._run(*placed[0], x)
            elif placed:
                y = torch.stack([self._run(key, block, x) for key, block in placed]).sum(0)
                x = y - (len(placed) - 1) * x if any(block.residual for _, block in placed) else y
        return x

    def _run(self, key: str, block: Block, x: Tensor) -> Tensor:
        return self._meta_block(block).run(self.slices(key, block), x, self.training)

    def _side_by_side(self, arch: Architecture, paths: Sequence[Sequence[Op]]) -> list[tuple[tuple[str, Block], ...]]:
        """The blocks of each position; those of a layer that has no op are none."""
        layers = sum(len(choice.ops) for choice in arch.stages)
        if len(paths) != layers:
            raise SupernetError(f"ops side by side for {len(paths)} layers; {arch} has {layers}")
        found: dict[int, dict[Op, tuple[str, Block]]] = {number: {} for number in range(layers)}
        for turn in range(max(map(len, paths))):
            drawn = iter(ops[min(turn, len(ops) - 1)] if ops else None for ops in paths)
            stages = [replace(choice, ops=tuple(next(drawn) or op for op in choice.ops)) for choice in arch.stages]
            whole = self.place(replace(arch, stages=tuple(stages)))
            for number, (op, placed) in enumerate(zip((o for s in stages for o in s.ops), whole[1:], strict=False)):
                found[number][op] = placed
        head = whole[1 + layers :]
        for number, ops in enumerate(paths):
            if not ops and not next(iter(found[number].values()))[1].residual:
                raise SupernetError(f"layer {number + 1} of {arch} has no shortcut, so at least one op must stay")
        between = [tuple(found[number][op] for op in ops) for number, ops in enumerate(paths)]
        return [(whole[0],), *between, *((placed,) for placed in head)]

    def train(self, mode: bool = True) -> Self:
        """Set the mode; meta blocks take it from here, and shared weights, which are never run, have none."""
        self.training = mode
        return self

    def extract(self, arch: Architecture) -> Network:
        """A network of its own with copies of the weights of `arch`, in the mode this supernet is in."""
        modules = []
        for key, block in self.place(arch):
            copies = {
                name: tensor.detach().clone(memory_format=_layout(tensor))
                for name, tensor in self.slices(key, block).items()
            }
            modules.append(self._meta_block(block).build(copies, block, self.training))
        network = Network.of(modules)
        network.training = self.training
        return network

    def slices(self, key: str, block: Block) -> dict[str, Tensor]:
        """The shared tensors that `block` at the position `key` computes with, by name and in its shapes."""
        return self.shared(key).slices(block)

    def shared(self, key: str) -> SharedWeights:
        """The shared weights of the position `key`."""
        shared = self.banks[key]
        if not isinstance(shared, SharedWeights):
            raise TypeError(f"the weights at {key!r} are a {type(shared).__name__}")
        return shared

    def sort_channels(self) -> None:
        """Move the most important middle channels of every layer to the front; the largest network is unchanged."""
        for shared in self.banks.values():
            if isinstance(shared, SharedWeights):
                shared.sort_channels()

    @torch.no_grad()
    def zero_gammas(self) -> None:
        """Let every layer that has a shortcut in all networks begin as an identity (Goyal et al. 2017, section 5.1)."""
        residual: dict[str, bool] = {}
        for key, block in _all_blocks(self.space, self.sharing):
            residual[key] = residual.get(key, True) and block.residual
        for key in (key for key, always in residual.items() if always):
            self.shared(key).weights.get_parameter("project_norm.weight").zero_()

    def place(self, arch: Architecture) -> Placed:
        """The blocks of `arch` in order, each with the key of its weights."""
        keys = ["stem"]
        for number, choice in enumerate(arch.stages, 1):
            keys += [position_key(number, layer, op, self.sharing) for layer, op in enumerate(choice.ops, 1)]
        blocks = self.space.blocks(arch)
        keys += head_keys(blocks[len(keys) :])
        return list(zip(keys, blocks, strict=True))

    def _meta_block(self, block: Block) -> MetaBlock:
        meta_block = self._meta_blocks.get(block)
        if meta_block is None:
            # Weights do not depend on the size of what flows through them, so sizes share one meta block.
            shape = block.sizeless
            meta_block = self._meta_blocks.setdefault(shape, MetaBlock(shape, self.space.batchnorm_eps))
            self._meta_blocks[block] = meta_block
        return meta_block


def inherit(parent: Supernet, region: SearchSpace) -> Supernet:
    """A supernet of `region` that computes what `parent` does on it, with only the weights `region` can use.

    Resolutions may differ, weights do not depend on them. Raises SupernetError where `region` has a choice that
    the parent's space lacks.
    """
    objection = _not_inside(region, parent.space)
    if objection is not None:
        raise SupernetError(
            f"region {region.name!r} is no part of space {parent.space.name!r}: {objection}; "
            "a supernet hands its weights to parts of its own space only"
        )
    child = Supernet(region, parent.sharing)
    for key, shared in child.banks.items():
        source = parent.banks[key]
        if isinstance(shared, SharedWeights) and isinstance(source, SharedWeights):
            shared.load(source)
    return child.train(parent.training)


def _not_inside(region: SearchSpace, space: SearchSpace) -> str | None:
    """What of `region` is not in `space`, resolutions apart; None where all of it is."""
    for name in ("stem", "head", "classes", "batchnorm_eps"):
        if getattr(region, name) != getattr(space, name):
            return f"its {name} is {getattr(region, name)} instead of {getattr(space, name)}"
    if len(region.stages) != len(space.stages):
        return f"it has {len(region.stages)} stages instead of {len(space.stages)}"
    for number, (part, whole) in enumerate(zip(region.stages, space.stages, strict=True), 1):
        for name in ("stride", "activation", "squeeze"):
            if getattr(part, name) != getattr(whole, name):
                return f"{name} of its stage {number} is {getattr(part, name)} instead of {getattr(whole, name)}"
        if not set(part.widths) <= set(whole.widths) or not set(part.depths) <= set(whole.depths):
            return f"stage {number} has widths {part.widths} and depths {part.depths}"
        for layer, (ops, known) in enumerate(zip(part.slots, whole.slots, strict=False), 1):
            if not set(ops) <= set(known):
                return f"stage {number} layer {layer} has ops {', '.join(map(str, ops))}"
    return None


def _layout(tensor: Tensor) -> torch.memory_format:
    return torch.channels_last if tensor.dim() == 4 else torch.contiguous_format


def position_key(stage: int, layer: int, op: Op, sharing: Sharing) -> str:
    """The position whose weights `op` of a layer shares; stages and layers count from 1."""
    key = f"stage{stage}_layer{layer}"
    name = str(op).replace(".", "_")  # modules have no dots in their names
    return f"{key}_{name}" if sharing == "separate" or op == SKIP else key


def head_keys(blocks: Sequence[Block]) -> list[str]:
    """Of the blocks after the stages; a linear one before the classifier is the hidden layer."""
    return [*(f"head_{'hidden' if b.kind == 'linear' else b.kind}" for b in blocks[:-1]), f"head_{blocks[-1].kind}"]


def _bounds(space: SearchSpace, sharing: Sharing) -> dict[str, tuple[Block, int, bool]]:
    """For each position the block that bounds all it serves, their smallest kernel, and whether all of them expand."""
    shapes: dict[str, tuple[Block, int, bool]] = {}
    for key, block in _all_blocks(space, sharing):
        bare = replace(block, in_size=1, residual=False)
        bound, smallest, expands = shapes.get(key, (bare, bare.kernel, bare.expands))
        shapes[key] = _bound(bound, bare), min(smallest, bare.kernel), expands and bare.expands
    return shapes


def _all_blocks(space: SearchSpace, sharing: Sharing) -> Iterator[tuple[str, Block]]:
    """Every block of the space with the key of its weights, at one resolution (weights do not depend on it)."""
    yield "stem", space.stem_block(space.resolutions[-1])
    channels: tuple[int, ...] = (space.stem.channels,)
    for number, stage in enumerate(space.stages, 1):
        for layer, ops in enumerate(stage.slots, 1):
            for op, width in product(ops, stage.widths):
                key = position_key(number, layer, op, sharing)
                if layer > 1:
                    yield key, stage.later_block(1, width, op)
                else:
                    yield from ((key, stage.first_block(1, c, width, op)) for c in channels)
        channels = stage.widths
    for c in channels:
        blocks = space.head_blocks(1, c)
        yield from zip(head_keys(blocks), blocks, strict=True)


def _bound(one: Block, other: Block) -> Block:
    return replace(
        one,
        in_channels=max(one.in_channels, other.in_channels),
        out_channels=max(one.out_channels, other.out_channels),
        mid_channels=max(one.mid_channels, other.mid_channels),
        se_channels=max(one.se_channels, other.se_channels),
        kernel=max(one.kernel, other.kernel),
    )
