"""The ranker: a supernet's score, a network's size and its options, weighted by what a few labels teach.

Nothing but what every user has goes in: labels are the scores of some dozens of networks after a short private
fine-tune. Alone, the score of a supernet ranks no better than MACs (docs/results/fewshot.md); the parts err in
different ways, so together they do better than each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.fewshot.decisions import SplitError
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.space import SearchSpace

Floats = NDArray[np.float64]
Part = Literal["score", "size", "options", "region"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
_PENALTIES: Final = tuple(10.0 ** (exponent / 4) for exponent in range(-8, 17))


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
    """Ridge regression on standardised features, its penalty chosen by leave-one-out error on the labels."""

    features: Features
    mean: Floats
    spread: Floats
    weights: Floats
    penalty: float
    leave_one_out: Floats = field(repr=False)

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
        x = features(archs, scores, regions)
        mean, spread = x.mean(0), x.std(0)
        spread = np.where(spread > 1e-12, spread, 1.0)
        x = (x - mean) / spread
        y = np.asarray(labels, float) - np.mean(labels)
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        best: tuple[float, float, Floats, Floats] | None = None
        for penalty in _PENALTIES:
            shrink = s**2 / (s**2 + penalty)
            fitted = u @ (shrink * (u.T @ y))
            leverage = (u**2 * shrink).sum(1) + 1 / len(y)
            residual = (y - fitted) / np.maximum(1 - leverage, 1e-6)
            error = float((residual**2).mean())
            if best is None or error < best[0]:
                weights = vt.T @ (s / (s**2 + penalty) * (u.T @ y))
                best = error, penalty, weights, y - residual
        if best is None:
            raise RuntimeError("unreachable: there are penalties to try")
        return cls(features, mean, spread, best[2], best[1], best[3])

    def __call__(self, archs: Sequence[Architecture], scores: Sequence[float], regions: Sequence[int]) -> Floats:
        """The predicted label of each network, up to a constant: higher is better."""
        x = (self.features(archs, scores, regions) - self.mean) / self.spread
        return np.asarray(x @ self.weights)
