"""What is believed of a network before anything is labelled: its score, what its ops explain of scores, its MACs.

A supernet's score of one network is noisy, what it says of an op over many networks is not: on NAS-Bench-Macro the
scores as ops explain them rank better than the scores themselves (docs/results/fewshot.md). Converged supernets
in spaces where ops act together gain nothing from it, so both have half a say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.ranking.features import Features
from pipeline.ranking.ridge import Floats, Ridge
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.space import SearchSpace

Weights = tuple[float, float, float]  # of score, smoothed score and log MACs, each in standard deviations
WEIGHTS: Final[Weights] = (0.5, 0.5, 1.0)


@dataclass(frozen=True)
class Prior:
    """A weighted sum of three standardised columns; only the smoothing is learned, from judged networks."""

    smoothing: Features
    size: Features
    ridge: Ridge
    means: Floats
    spreads: Floats
    weights: Weights = WEIGHTS

    @classmethod
    def learn(
        cls,
        space: SearchSpace,
        regions: int,
        archs: Sequence[Architecture],
        scores: Sequence[float],
        where: Sequence[int],
        weights: Weights = WEIGHTS,
    ) -> "Prior":
        """From the scores of judged networks; `where[i]` is the region of network i, of `regions`."""
        smoothing = Features(space, regions, ("totals", "options", "region"))
        ridge = Ridge.fit(smoothing(archs, scores, where), np.asarray(scores, float), smoothing.belief)
        blank = cls(smoothing, Features(space, 1, ("size",)), ridge, np.zeros(3), np.ones(3))
        columns = blank.columns(archs, scores, where)
        spreads = columns.std(0)
        return cls(smoothing, blank.size, ridge, columns.mean(0), np.where(spreads > 0, spreads, np.inf), weights)

    def __call__(self, archs: Sequence[Architecture], scores: Sequence[float], where: Sequence[int]) -> Floats:
        """How good each network is believed to be, in about standard deviations; higher is better."""
        return np.asarray(self.standardised(archs, scores, where) @ np.array(self.weights))

    def standardised(self, archs: Sequence[Architecture], scores: Sequence[float], where: Sequence[int]) -> Floats:
        """The columns in standard deviations of the networks that were learned from, shape (n, 3)."""
        return np.asarray((self.columns(archs, scores, where) - self.means) / self.spreads)

    def columns(self, archs: Sequence[Architecture], scores: Sequence[float], where: Sequence[int]) -> Floats:
        """Score, smoothed score and log MACs of each network, shape (n, 3), not standardised."""
        smoothed = self.ridge(self.smoothing(archs, scores, where))
        return np.stack([np.asarray(scores, float), smoothed, self.size(archs, scores, where)[:, 0]], axis=1)
