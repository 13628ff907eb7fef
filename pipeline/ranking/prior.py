"""What is believed of a network before anything is labelled: its score, what its ops explain of scores, its size.

A supernet's score of one network is noisy, what it says of an op over many networks is not: on NAS-Bench-Macro the
scores as ops explain them rank better than the scores themselves (docs/results/fewshot.md). Converged supernets
in spaces where ops act together gain nothing from it, so both have half a say.

Size tells what scores do not, but not every space repays MACs alike: some repay depth instead. So size is log MACs
and what MACs, parameters and layers explain of the scores. The second has as large a say as the share of the scores'
variance that it explains in networks left out, and never more than half: a supernet that has not learned what size is
worth has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.ranking.features import Features
from pipeline.ranking.ridge import Floats, Ridge
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.space import SearchSpace

Weights = tuple[float, float, float]  # of score, smoothed score and size
WEIGHTS: Final[Weights] = (0.5, 0.5, 1.0)
MOST_SHARE: Final = 0.5  # of what is learned of size
_ROUNDING: Final = 1e-12  # of the mean: equal scores do not have a spread of exactly 0


@dataclass(frozen=True)
class Prior:
    """A weighted sum of a network's score, its smoothed score and its size; `smoothing` and `sizing` are what judged
    networks taught, `means` and `spreads` (4,) those of their columns; `share` is the say of `sizing` within size."""

    smoothing: "Explained"
    sizing: "Explained"
    means: Floats
    spreads: Floats
    share: float
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
        smoothing = Explained.learn(Features(space, regions, ("totals", "options", "region")), archs, scores, where)
        sizing = Explained.learn(Features(space, 1, ("size", "layers")), archs, scores, where)
        columns = cls(smoothing, sizing, np.zeros(4), np.ones(4), 0.0).columns(archs, scores, where)
        means, spreads = columns.mean(0), columns.std(0)
        spreads = np.where(spreads > _ROUNDING * np.maximum(1, np.abs(means)), spreads, np.inf)
        return cls(smoothing, sizing, means, spreads, min(MOST_SHARE, sizing.ridge.explained), weights)

    def __call__(self, archs: Sequence[Architecture], scores: Sequence[float], where: Sequence[int]) -> Floats:
        """How good each network is believed to be, in about standard deviations; higher is better."""
        return np.asarray(self.standardised(archs, scores, where) @ np.array(self.weights))

    def standardised(self, archs: Sequence[Architecture], scores: Sequence[float], where: Sequence[int]) -> Floats:
        """Score, smoothed score and size, shape (n, 3), in standard deviations of the networks that were learned from;
        size is made of two such columns, log MACs and what size explains of the scores."""
        columns = (self.columns(archs, scores, where) - self.means) / self.spreads
        return np.column_stack([columns[:, :2], columns[:, 2:] @ [1 - self.share, self.share]])

    def columns(self, archs: Sequence[Architecture], scores: Sequence[float], where: Sequence[int]) -> Floats:
        """Score, smoothed score, log MACs and the score as size explains it, shape (n, 4), not standardised."""
        smoothed, size = self.smoothing(archs, scores, where), self.sizing.features(archs, scores, where)
        return np.stack([np.asarray(scores, float), smoothed, size[:, 0], self.sizing.ridge(size)], axis=1)


@dataclass(frozen=True)
class Explained:
    """What `features` explain of networks' scores."""

    features: Features
    ridge: Ridge

    @classmethod
    def learn(
        cls, features: Features, archs: Sequence[Architecture], scores: Sequence[float], where: Sequence[int]
    ) -> "Explained":
        """From judged networks' scores."""
        return cls(features, Ridge.fit(features(archs, scores, where), np.asarray(scores, float), features.belief))

    def __call__(self, archs: Sequence[Architecture], scores: Sequence[float], where: Sequence[int]) -> Floats:
        """The score that each network would have by its features alone, shape (n,)."""
        return self.ridge(self.features(archs, scores, where))
