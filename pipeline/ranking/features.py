"""What a ranker sees of a network: the supernet's score, its size, its ops, its region."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, get_args

import numpy as np

from pipeline.fewshot.decisions import SplitError
from pipeline.ranking.ridge import Floats
from pipeline.spaces.architecture import SKIP, Architecture, Op
from pipeline.spaces.codes import CodeArray, Codes
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.space import SearchSpace

Part = Literal["score", "size", "layers", "totals", "options", "region"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
# What one layer does must show more clearly than what holds everywhere (docs/results/fewshot.md has the effect).
_BELIEF_IN_OPTIONS: Final = 0.2


@dataclass(frozen=True)
class Features:
    """The columns that a ranker sees, for networks of one space; each of `parts` can be left out.

    score: the supernet's. size: log MACs and log parameters. layers: how many
    layers are not skipped. totals: how many layers each op has, over the whole
    network. options: each option of each gene as 0 or 1, believed less than the rest. region: as 0 or 1.
    """

    space: SearchSpace
    regions: int = 1
    parts: tuple[Part, ...] = PARTS

    def __post_init__(self) -> None:
        unknown = set(self.parts) - set(PARTS)
        if unknown or not self.parts:
            raise SplitError(f"ranker parts {', '.join(unknown) or 'are empty'}; accepted are {', '.join(PARTS)}")

    def __call__(self, archs: Sequence[Architecture], scores: Sequence[float], regions: Sequence[int]) -> Floats:
        """Shape (networks, columns); `scores` and `regions` are read only by their parts."""
        codes = self._codes.encode(archs)
        columns: dict[Part, Callable[[], Floats]] = {
            "score": lambda: np.asarray(scores, float)[:, None],
            "size": lambda: np.log(np.stack([self._macs(codes), self._params(codes)], axis=1)),
            "layers": lambda: self._layers(archs),
            "totals": lambda: self._totals(archs),
            "options": lambda: self._options(codes),
            "region": lambda: (np.asarray(regions)[:, None] == np.arange(self.regions)) * 1.0,
        }
        return np.concatenate([columns[part]() for part in PARTS if part in self.parts], axis=1)

    @cached_property
    def belief(self) -> Floats:
        """How much each column is believed, for `Ridge.fit`, shape (columns,)."""
        widths = {
            "score": 1,
            "size": 2,
            "layers": 1,
            "totals": len(self._ops),
            "options": sum(options for options in self._codes.cardinalities if options > 1),
            "region": self.regions,
        }
        believed = {"options": _BELIEF_IN_OPTIONS}
        return np.concatenate([np.full(widths[part], believed.get(part, 1.0)) for part in PARTS if part in self.parts])

    def _options(self, codes: CodeArray) -> Floats:
        active = self._codes.active(codes)
        columns = [
            (codes[:, [gene]] == np.arange(options)) * active[:, [gene]] * 1.0
            for gene, options in enumerate(self._codes.cardinalities)
            if options > 1
        ]
        return np.concatenate(columns, axis=1) if columns else np.empty((len(codes), 0))

    def _layers(self, archs: Sequence[Architecture]) -> Floats:
        return np.array([[float(sum(op != SKIP for stage in arch.stages for op in stage.ops))] for arch in archs])

    def _totals(self, archs: Sequence[Architecture]) -> Floats:
        counts = [Counter(op for stage in arch.stages for op in stage.ops) for arch in archs]
        return np.array([[float(count[op]) for op in self._ops] for count in counts])

    @cached_property
    def _ops(self) -> tuple[Op, ...]:
        return tuple(sorted({op for stage in self.space.stages for slot in stage.slots for op in slot}))

    @cached_property
    def _codes(self) -> Codes:
        return Codes(self.space)

    @cached_property
    def _macs(self) -> AdditiveCost:
        return AdditiveCost(self.space, lambda block: block.macs)

    @cached_property
    def _params(self) -> AdditiveCost:
        return AdditiveCost(self.space, lambda block: block.params)
