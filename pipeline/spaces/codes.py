"""Architectures as arrays of small integers, for anything that handles thousands at once.

One row per network, one column per gene: the resolution, then for each stage its width, its depth and one op
per layer, each an index into the space's own options. Genes of layers that do not exist are 0, so equal rows
are equal networks.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.spaces.architecture import Architecture, Op, StageChoice
from pipeline.spaces.space import SearchSpace

CodeArray = NDArray[np.uint8]
_StageOptions = tuple[dict[int, int], dict[int, int], list[dict[Op, int]]]
_T = TypeVar("_T")


class Codes:
    """The encoding of one space. `cardinalities[g]` is the number of options of gene g, `names[g]` its name."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        names, cardinalities = ["resolution"], [len(space.resolutions)]
        self.width_genes: list[int] = []
        for number, stage in enumerate(space.stages, 1):
            self.width_genes.append(len(names))
            names += [f"stage{number}.width", f"stage{number}.depth"]
            names += [f"stage{number}.layer{layer}" for layer in range(1, len(stage.slots) + 1)]
            cardinalities += [len(stage.widths), len(stage.depths), *map(len, stage.slots)]
        self.names = tuple(names)
        self.cardinalities = tuple(cardinalities)

    def encode(self, archs: Iterable[Architecture]) -> CodeArray:
        """Rows for `archs`, shape (n, genes); ArchitectureError for one outside the space."""
        rows = []
        options = self._options
        for arch in archs:
            try:
                row = [options[0][arch.resolution]]
                for (widths, depths, slots), choice in zip(options[1], arch.stages, strict=True):
                    row += [widths[choice.width], depths[len(choice.ops)]]
                    row += [slot[op] for slot, op in zip(slots, choice.ops, strict=False)]
                    row += [0] * (len(slots) - len(choice.ops))
            except (KeyError, ValueError):
                self.space.check(arch)
                raise
            rows.append(row)
        return np.array(rows, dtype=np.uint8).reshape(len(rows), len(self.names))

    def decode(self, codes: CodeArray) -> list[Architecture]:
        """The networks that the rows of `codes` (n, genes) stand for."""
        return [self._decode_row(row) for row in codes.tolist()]

    def active(self, codes: CodeArray) -> NDArray[np.bool_]:
        """Which genes exist in each network, shape (n, genes)."""
        mask = np.ones(codes.shape, dtype=bool)
        for stage, gene in zip(self.space.stages, self.width_genes, strict=True):
            depth = np.array(stage.depths)[codes[:, gene + 1]]
            layers = np.arange(len(stage.slots))
            mask[:, gene + 2 : gene + 2 + len(layers)] = layers < depth[:, None]
        return mask

    def canonical(self, codes: CodeArray) -> CodeArray:
        """A copy of `codes` (n, genes) in which genes that do not exist are 0."""
        return np.where(self.active(codes), codes, np.uint8(0))

    def sample(self, n: int, rng: np.random.Generator, over_networks: bool = True) -> CodeArray:
        """Rows (n, genes), uniform over distinct networks, or over genes (each depth equally likely) if told so."""
        codes = np.empty((n, len(self.names)), dtype=np.uint8)
        for gene, options in enumerate(self.cardinalities):
            codes[:, gene] = rng.integers(options, size=n)
        if over_networks:
            for stage, gene in zip(self.space.stages, self.width_genes, strict=True):
                counts = np.array([float(count) for count in stage.layer_counts().values()])
                codes[:, gene + 1] = rng.choice(len(counts), size=n, p=counts / counts.sum())
        return self.canonical(codes)

    @cached_property
    def _options(self) -> tuple[dict[int, int], list[_StageOptions]]:
        """The index of each option, nested as the genes are."""
        stages = [(_index(s.widths), _index(s.depths), [_index(slot) for slot in s.slots]) for s in self.space.stages]
        return _index(self.space.resolutions), stages

    def _decode_row(self, row: list[int]) -> Architecture:
        stages = []
        for stage, gene in zip(self.space.stages, self.width_genes, strict=True):
            depth = stage.depths[row[gene + 1]]
            ops = tuple(stage.slots[layer][row[gene + 2 + layer]] for layer in range(depth))
            stages.append(StageChoice(stage.widths[row[gene]], ops))
        return Architecture(self.space.resolutions[row[0]], tuple(stages))


def _index(values: Sequence[_T]) -> dict[_T, int]:
    return {value: number for number, value in enumerate(values)}
