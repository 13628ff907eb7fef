"""The product's ranker at work: a prior from judged networks, and what some privately tuned ones teach about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.fewshot.decisions import SplitError
from pipeline.fewshot.partition import Partition
from pipeline.ranking.features import Features
from pipeline.ranking.prior import WEIGHTS, Prior, Weights
from pipeline.ranking.ranker import Ranker
from pipeline.spaces.architecture import Architecture


@dataclass(frozen=True)
class RankedScorer:
    """Ranks networks whose scores by a region scorer are known; higher is better.

    With labels it predicts them (minus the cross-entropy in nats after a private fine-tune), without it is the prior.
    """

    partition: Partition
    prior: Prior
    ranker: Ranker | None = None

    @classmethod
    def learn(
        cls,
        partition: Partition,
        archs: Sequence[Architecture],
        scores: Sequence[float],
        labels: Sequence[float],
        weights: Weights = WEIGHTS,
    ) -> "RankedScorer":
        """Learn from `scores` of `archs`, the first of which have `labels`, if any; higher is better in both.

        SplitError with 1 to 7 labels, or more than networks.
        """
        if len(labels) > len(archs) or len(archs) != len(scores):
            raise SplitError(f"{len(labels)} labels and {len(scores)} scores for {len(archs)} networks")
        where = [partition.route(arch) for arch in archs]
        prior = Prior.learn(partition.space, len(partition.regions), archs, scores, where, weights)
        if not labels:
            return cls(partition, prior)
        features = Features(partition.space, len(partition.regions))
        n = len(labels)
        return cls(partition, prior, Ranker.fit(features, archs[:n], scores[:n], where[:n], labels, prior))

    def __call__(self, archs: Sequence[Architecture], scores: Sequence[float]) -> list[float]:
        """One value per network, in their order."""
        regions = [self.partition.route(arch) for arch in archs]
        return [float(value) for value in (self.ranker or self.prior)(archs, scores, regions)]
