"""The product's ranker at work: a region scorer, and what some privately tuned networks teach about its errors."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.fewshot.ranker import PARTS, Features, Part, Ranker
from pipeline.fewshot.scores import RegionScorer
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.training import Progress


@dataclass(frozen=True)
class RankedScorer:
    """Predicts minus the cross-entropy (nats) that a network would have after the private fine-tune of the labels."""

    scorer: RegionScorer
    ranker: Ranker

    @classmethod
    def learn(
        cls,
        scorer: RegionScorer,
        archs: Sequence[Architecture],
        labels: Sequence[float],
        parts: tuple[Part, ...] = PARTS,
    ) -> "RankedScorer":
        """Learn from `labels` of `archs`, higher is better; SplitError with fewer than 8 of them."""
        space = scorer.partition.space
        regions = [scorer.partition.route(arch) for arch in archs]
        features = Features(space, len(scorer.partition.regions), parts)
        # Without their part, scores are not read: nothing needs to be judged for them.
        scores = scorer(archs) if "score" in parts else [0.0] * len(archs)
        return cls(scorer, Ranker.fit(features, archs, scores, regions, labels))

    def __call__(self, archs: Sequence[Architecture], progress: Progress | None = None) -> list[float]:
        """One prediction per network, in their order, higher is better."""
        judged = "score" in self.ranker.features.parts
        return self.ranked(archs, self.scorer(archs, progress) if judged else [0.0] * len(archs))

    def ranked(self, archs: Sequence[Architecture], scores: Sequence[float]) -> list[float]:
        """The predictions for networks whose `scores` by the region scorer are known."""
        regions = [self.scorer.partition.route(arch) for arch in archs]
        return [float(value) for value in self.ranker(archs, scores, regions)]
