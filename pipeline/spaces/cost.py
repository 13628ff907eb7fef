"""What networks cost when a cost is a sum over blocks (MACs, parameters, milliseconds), many at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.blocks import Block
from pipeline.spaces.architecture import Architecture, Op, StageChoice
from pipeline.spaces.codes import CodeArray, Codes
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import Stage

Costs = NDArray[np.float64]
_ROWS_AT_ONCE = 1 << 15  # the working set of a chunk stays in a core's cache


@dataclass(frozen=True, slots=True)
class StageCosts:
    """Costs of one stage's blocks. `first`: (resolutions, widths before, widths, ops of layer 1); `later`, for each
    further layer: (resolutions, widths, ops + 1), the last column being "absent"."""

    first: Costs
    later: tuple[Costs, ...]


@dataclass(frozen=True, slots=True)
class CostParts:
    """What a cost is summed from: `stem` (resolutions,), with the fixed share; the stages; `head` (resolutions,
    widths of the last stage)."""

    stem: Costs
    stages: tuple[StageCosts, ...]
    head: Costs


class AdditiveCost:
    """The sum of `cost_of(block)` over a network's blocks, for encoded networks of one space."""

    def __init__(self, space: SearchSpace, cost_of: Callable[[Block], float], fixed: float = 0.0) -> None:
        self.space = space
        self.codes = Codes(space)
        sizes = [space.sizes(resolution) for resolution in space.resolutions]
        stem = np.array([fixed + cost_of(space.stem_block(r)) for r in space.resolutions])
        stages: list[StageCosts] = []
        before: tuple[int, ...] = (space.stem.channels,)
        for number, stage in enumerate(space.stages):
            first = [
                [
                    [[cost_of(stage.first_block(s[number], c, w, op)) for op in stage.slots[0]] for w in stage.widths]
                    for c in before
                ]
                for s in sizes
            ]
            later = tuple(
                np.array(
                    [
                        [
                            [*(cost_of(stage.later_block(s[number + 1], w, op)) for op in slot), 0.0]
                            for w in stage.widths
                        ]
                        for s in sizes
                    ]
                )
                for slot in stage.slots[1:]
            )
            stages.append(StageCosts(np.array(first), later))
            before = stage.widths
        head = np.array([[float(sum(map(cost_of, space.head_blocks(s[-1], c)))) for c in before] for s in sizes])
        self.parts = CostParts(stem, tuple(stages), head)

    def __call__(self, codes: CodeArray) -> Costs:
        """The cost of each row of `codes`, shape (n,)."""
        total = np.empty(len(codes))
        for start in range(0, len(codes), _ROWS_AT_ONCE):
            # Genes as contiguous columns: every look-up below reads whole columns.
            columns = np.ascontiguousarray(codes[start : start + _ROWS_AT_ONCE].T).astype(np.intp)
            total[start : start + _ROWS_AT_ONCE] = self._of_columns(columns)
        return total

    def of(self, arch: Architecture) -> float:
        """The cost of one network."""
        return float(self(self.codes.encode([arch]))[0])

    def minimum(self) -> tuple[float, Architecture]:
        """The smallest cost in the space and a network that has it: computed, not sampled."""
        return self._extreme(1.0)

    def maximum(self) -> tuple[float, Architecture]:
        """The largest cost in the space and a network that has it."""
        return self._extreme(-1.0)

    def _of_columns(self, columns: NDArray[np.intp]) -> Costs:
        resolution = columns[0]
        total: Costs = self.parts.stem[resolution]
        before = np.zeros_like(resolution)
        stages = zip(self.space.stages, self.parts.stages, self.codes.width_genes, strict=True)
        for stage, costs, gene in stages:
            width = columns[gene]
            depth = np.array(stage.depths)[columns[gene + 1]]
            _, widths_before, widths, ops = costs.first.shape
            row = (resolution * widths_before + before) * widths + width
            total += costs.first.reshape(-1)[row * ops + columns[gene + 2]]
            row = resolution * widths + width
            for layer, later in enumerate(costs.later, 1):
                absent = later.shape[2] - 1
                op = columns[gene + 2 + layer]
                if layer >= stage.depths[0]:
                    op = np.where(depth > layer, op, absent)
                total += later.reshape(-1)[row * (absent + 1) + op]
            before = width
        total += self.parts.head[resolution, before]
        return total

    def _extreme(self, sign: float) -> tuple[float, Architecture]:
        """Dynamic programming over the stages; the state is the stage's width."""
        best: tuple[float, Architecture] | None = None
        for r, resolution in enumerate(self.space.resolutions):
            paths: list[tuple[float, tuple[StageChoice, ...]]] = [(sign * float(self.parts.stem[r]), ())]
            for stage, costs in zip(self.space.stages, self.parts.stages, strict=True):
                paths = [
                    min(
                        (
                            (value + first + tail, (*chosen, StageChoice(width, (op, *ops))))
                            for before, (value, chosen) in enumerate(paths)
                            for first, op in [_least(sign * costs.first[r, before, w], stage.slots[0])]
                            for tail, ops in [_least_tail(sign, costs.later, r, w, stage)]
                        ),
                        key=lambda path: path[0],
                    )
                    for w, width in enumerate(stage.widths)
                ]
            for w, (value, chosen) in enumerate(paths):
                whole = value + sign * float(self.parts.head[r, w])
                if best is None or whole < best[0]:
                    best = whole, Architecture(resolution, chosen)
        if best is None:  # a space has at least one resolution and one stage
            raise RuntimeError("unreachable: an empty space")
        return sign * best[0], best[1]


def _least(values: Costs, ops: Sequence[Op]) -> tuple[float, Op]:
    index = int(np.argmin(values))
    return float(values[index]), ops[index]


def _least_tail(sign: float, later: Sequence[Costs], r: int, w: int, stage: Stage) -> tuple[float, tuple[Op, ...]]:
    """The cheapest layers after the first: for each allowed depth the sum of the cheapest ops."""
    tails = []
    for depth in stage.depths:
        chosen = [_least(sign * later[layer - 1][r, w, :-1], stage.slots[layer]) for layer in range(1, depth)]
        tails.append((sum(value for value, _ in chosen), tuple(op for _, op in chosen)))
    return min(tails, key=lambda tail: tail[0])
