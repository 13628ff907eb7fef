"""A distribution over the networks of a space, as the factors that a supernet can be run with.

Every decision (resolution; of each stage the width and the depth, whether its first layer is an op or the plain
projection, and the op of each layer) has a vector of weights over its options. Weights that are 0 and 1 are one
network; any others are a relaxation of the space, through which gradients flow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.search.candidates import CodeArray, FloatArray
from pipeline.spaces.architecture import SKIP, Architecture, Op
from pipeline.spaces.codes import Codes
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import Stage


@dataclass(frozen=True, slots=True)
class StageGates:
    """Weights of one stage's options, each vector in the order of the space.

    `widths` (widths,), `depths` (depths,). `keep` (a scalar): the first layer is one of its ops, not the plain
    projection; 1 where there is no projection. `ops[i]` (ops,): the ops of layer i without the projection, given that
    the layer exists.
    """

    widths: Tensor
    depths: Tensor
    keep: Tensor
    ops: tuple[Tensor, ...]

    def presence(self, stage: Stage) -> list[Tensor]:
        """For each layer the weight of the depths that have it, a scalar; the first is always there."""
        depths = self.depths.new_tensor(stage.depths)
        return [(self.depths * (depths > layer)).sum() for layer in range(len(stage.slots))]


@dataclass(frozen=True, slots=True)
class Gates:
    """Weights of all options of a space; `resolutions` has shape (resolutions,)."""

    resolutions: Tensor
    stages: tuple[StageGates, ...]

    def vectors(self) -> list[Tensor]:
        """Every vector once, (options,) each: resolutions, then of each stage widths, depths, keep and ops by layer."""
        found = [self.resolutions]
        for stage in self.stages:
            found += [stage.widths, stage.depths, stage.keep, *stage.ops]
        return found

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Gates":
        """These gates with `change`, which keeps shapes, done to every vector."""
        return self.rebuilt([change(vector) for vector in self.vectors()])

    def rebuilt(self, vectors: Sequence[Tensor]) -> "Gates":
        """Gates of the same space made of `vectors`, in the order and shapes of `vectors()`."""
        left = iter(vectors)
        resolutions = next(left)
        stages = [
            StageGates(next(left), next(left), next(left), tuple(next(left) for _ in stage.ops))
            for stage in self.stages
        ]
        return Gates(resolutions, tuple(stages))


def real_ops(slot: Sequence[Op]) -> tuple[Op, ...]:
    """The ops of a layer without the plain projection."""
    return tuple(op for op in slot if op != SKIP)


def hard_gates(space: SearchSpace, arch: Architecture) -> Gates:
    """The gates that are one network: ones and zeros. Ops of layers that it lacks are their first ones."""
    space.check(arch)
    stages = []
    for stage, choice in zip(space.stages, arch.stages, strict=True):
        ops = []
        for layer, slot in enumerate(stage.slots):
            known = real_ops(slot)
            chosen = choice.ops[layer] if layer < len(choice.ops) else None
            ops.append(_one_hot(known.index(chosen) if chosen in known else 0, len(known)))
        keep = torch.tensor(float(choice.ops[0] != SKIP))
        stages.append(
            StageGates(
                _one_hot(stage.widths.index(choice.width), len(stage.widths)),
                _one_hot(stage.depths.index(len(choice.ops)), len(stage.depths)),
                keep,
                tuple(ops),
            )
        )
    return Gates(_one_hot(space.resolutions.index(arch.resolution), len(space.resolutions)), tuple(stages))


def most_probable(space: SearchSpace, gates: Gates) -> Architecture:
    """The network of the largest weight in every decision."""
    codes = Codes(space)
    row = np.array([[int(np.argmax(table)) for table in log_tables(space, gates)]], dtype=np.uint8)
    return codes.decode(codes.canonical(row))[0]


def log_tables(space: SearchSpace, gates: Gates, floor: float = 1e-6) -> list[FloatArray]:
    """For each gene of `Codes(space)` the log weights of its options, shape (options,), none below log(`floor`)."""
    tables = [gates.resolutions]
    for stage, own in zip(space.stages, gates.stages, strict=True):
        tables += [own.widths, own.depths, slot_weights(stage.slots[0], own.keep, own.ops[0]), *own.ops[1:]]
    return [np.log(np.maximum(table.detach().double().cpu().numpy(), floor)) for table in tables]


def preference(space: SearchSpace, gates: Gates, codes: CodeArray) -> FloatArray:
    """How much less than the most probable option each row of `codes` (n, genes) has, in summed log weights, shape
    (n,): 0 for `most_probable`, which no row exceeds. Genes of layers that a network lacks do not count, so a
    shallow network is not preferred for having fewer of them."""
    columns = [table[codes[:, gene]] - table.max() for gene, table in enumerate(log_tables(space, gates))]
    return np.asarray((np.stack(columns, axis=1) * Codes(space).active(codes)).sum(axis=1))


def slot_weights(slot: Sequence[Op], keep: Tensor, ops: Tensor) -> Tensor:
    """Weights (options,) over all of a first layer's options, the plain projection included where there is one: of
    `keep` (a scalar) and `ops` (ops,)."""
    return torch.cat([(1 - keep)[None], keep * ops]) if SKIP in slot else ops


def _one_hot(index: int, options: int) -> Tensor:
    return (torch.arange(options) == index).float()
