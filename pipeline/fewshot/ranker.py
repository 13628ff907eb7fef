"""The ranker: a supernet's score, a network's size and its options, weighted by what a few labels teach.

Nothing but what every user has goes in: labels are the scores of some dozens of networks after a short private
fine-tune. Alone, the score of a supernet ranks no better than MACs (docs/results/fewshot.md); the parts err in
different ways, so together they do better than each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, get_args

import numpy as np

from pipeline.fewshot.decisions import SplitError
from pipeline.fewshot.ridge import Floats, Ridge
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.space import SearchSpace

Part = Literal["score", "size", "options", "region"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)


@dataclass(frozen=True)
class Features:
    """The columns that a ranker sees, for networks of one space; each of `parts` can be left out."""

    space: SearchSpace
    regions: int = 1
    parts: tuple[Part, ...] = PARTS

    def __post_init__(self) -> None:
        unknown = set(self.parts) - set(PARTS)
        if unknown or not self.parts:
            raise SplitError(f"ranker parts {', '.join(unknown) or 'are empty'}; accepted are {', '.join(PARTS)}")

    def __call__(self, archs: Sequence[Architecture], scores: Sequence[float], regions: Sequence[int]) -> Floats:
        """One row per network: its score, log MACs and log parameters, its options as 0 and 1, its region."""
        codes = self._codes.encode(archs)
        columns: list[Floats] = []
        if "score" in self.parts:
            columns.append(np.asarray(scores, float)[:, None])
        if "size" in self.parts:
            columns.append(np.log(np.stack([self._macs(codes), self._params(codes)], axis=1)))
        if "options" in self.parts:
            active = self._codes.active(codes)
            for gene, options in enumerate(self._codes.cardinalities):
                if options > 1:
                    columns.append((codes[:, [gene]] == np.arange(options)) * active[:, [gene]] * 1.0)
        if "region" in self.parts:
            columns.append((np.asarray(regions)[:, None] == np.arange(self.regions)) * 1.0)
        return np.concatenate(columns, axis=1)

    @cached_property
    def _codes(self) -> Codes:
        return Codes(self.space)

    @cached_property
    def _macs(self) -> AdditiveCost:
        return AdditiveCost(self.space, lambda block: block.macs)

    @cached_property
    def _params(self) -> AdditiveCost:
        return AdditiveCost(self.space, lambda block: block.params)


@dataclass(frozen=True)
class Ranker:
    """Features and what the labels taught about them: `ridge.leave_one_out` tells how well, without new labels."""

    features: Features
    ridge: Ridge

    @classmethod
    def fit(
        cls,
        features: Features,
        archs: Sequence[Architecture],
        scores: Sequence[float],
        regions: Sequence[int],
        labels: Sequence[float],
    ) -> "Ranker":
        """Learn from `labels` (higher is better), one for each of `archs`; SplitError with fewer than 8."""
        if len(labels) < 8 or len(labels) != len(archs):
            raise SplitError(f"a ranker needs at least 8 labelled networks; there are {len(labels)} for {len(archs)}")
        return cls(features, Ridge.fit(features(archs, scores, regions), np.asarray(labels, float)))

    def __call__(self, archs: Sequence[Architecture], scores: Sequence[float], regions: Sequence[int]) -> Floats:
        """The predicted label of each network: higher is better."""
        return self.ridge(self.features(archs, scores, regions))
