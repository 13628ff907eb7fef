"""The product's ranker at work: a region scorer, and what some privately tuned networks teach about its errors."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.fewshot.decisions import SplitError
from pipeline.fewshot.features import Features
from pipeline.fewshot.partition import Partition
from pipeline.fewshot.prior import Prior
from pipeline.fewshot.ranker import Ranker
from pipeline.spaces.architecture import Architecture


@dataclass(frozen=True)
class RankedScorer:
    """Predicts the label (minus the cross-entropy in nats after a private fine-tune) from a region scorer's score."""

    partition: Partition
    ranker: Ranker

    @classmethod
    def learn(
        cls,
        partition: Partition,
        archs: Sequence[Architecture],
        scores: Sequence[float],
        labels: Sequence[float],
    ) -> "RankedScorer":
        """Learn from `scores` of `archs`, the first of which have `labels`; higher is better in both.

        SplitError with fewer than 8 labels, or more than networks.
        """
        if len(labels) > len(archs) or len(archs) != len(scores):
            raise SplitError(f"{len(labels)} labels and {len(scores)} scores for {len(archs)} networks")
        where = [partition.route(arch) for arch in archs]
        prior = Prior.learn(partition.space, len(partition.regions), archs, scores, where)
        features = Features(partition.space, len(partition.regions))
        n = len(labels)
        return cls(partition, Ranker.fit(features, archs[:n], scores[:n], where[:n], labels, prior))

    def __call__(self, archs: Sequence[Architecture], scores: Sequence[float]) -> list[float]:
        """One prediction per network whose score is known, in their order; higher is better."""
        regions = [self.partition.route(arch) for arch in archs]
        return [float(value) for value in self.ranker(archs, scores, regions)]
