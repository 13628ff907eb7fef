"""The ranker: a supernet's score, a network's size and its options, weighted by what a few labels teach.

Nothing but what every user has goes in: labels are the scores of some dozens of networks after a short private
fine-tune. Alone, the score of a supernet ranks no better than MACs (docs/results/fewshot.md); the parts err in
different ways, so together they do better than each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.fewshot.decisions import SplitError
from pipeline.ranking.features import Features
from pipeline.ranking.prior import Prior
from pipeline.ranking.ridge import Floats, Ridge
from pipeline.spaces.architecture import Architecture

FEWEST_LABELS: Final = 8
_BELIEF_IN_PRIOR: Final = 4.0  # labels that are few or noisy then correct the prior rather than replace it


@dataclass(frozen=True)
class Ranker:
    """Features and what the labels taught about them: `ridge.leave_one_out` tells how well, without new labels.

    Where there is a `prior` it is one more column, believed more than all others.
    """

    features: Features
    ridge: Ridge
    prior: Prior | None = None

    @classmethod
    def fit(
        cls,
        features: Features,
        archs: Sequence[Architecture],
        scores: Sequence[float],
        regions: Sequence[int],
        labels: Sequence[float],
        prior: Prior | None = None,
    ) -> "Ranker":
        """Learn from `labels` (higher is better), one for each of `archs`; SplitError with fewer than 8."""
        if len(labels) < FEWEST_LABELS or len(labels) != len(archs):
            raise SplitError(
                f"a ranker needs at least {FEWEST_LABELS} labelled networks; there are {len(labels)} for {len(archs)}"
            )
        columns, belief = features(archs, scores, regions), features.belief
        if prior is not None:
            columns = np.column_stack([columns, prior(archs, scores, regions)])
            belief = np.append(belief, _BELIEF_IN_PRIOR)
        return cls(features, Ridge.fit(columns, np.asarray(labels, float), belief), prior)

    def __call__(self, archs: Sequence[Architecture], scores: Sequence[float], regions: Sequence[int]) -> Floats:
        """The predicted label of each network: higher is better."""
        columns = self.features(archs, scores, regions)
        if self.prior is not None:
            columns = np.column_stack([columns, self.prior(archs, scores, regions)])
        return self.ridge(columns)
