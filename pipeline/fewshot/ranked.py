"""The product's ranker at work: a region scorer, and what some privately tuned networks teach about its errors."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.fewshot.ranker import PARTS, Features, Part, Ranker
from pipeline.fewshot.repair import PrivateTuning, privately_tuned
from pipeline.fewshot.scores import RegionScorer
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.data import TrainingData
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
        """Learn from `labels` of `archs` (see `label`); SplitError with fewer than 8 of them."""
        space = scorer.partition.space
        regions = [scorer.partition.route(arch) for arch in archs]
        features = Features(space, len(scorer.partition.regions), parts)
        # Without their part, scores are not read: nothing needs to be judged for them.
        scores = scorer(archs) if "score" in parts else [0.0] * len(archs)
        return cls(scorer, Ranker.fit(features, archs, scores, regions, labels))

    def __call__(self, archs: Sequence[Architecture], progress: Progress | None = None) -> list[float]:
        """One score per network, in their order, higher is better."""
        regions = [self.scorer.partition.route(arch) for arch in archs]
        judged = "score" in self.ranker.features.parts
        scores = self.scorer(archs, progress) if judged else [0.0] * len(archs)
        return [float(value) for value in self.ranker(archs, scores, regions)]


def label(
    scorer: RegionScorer,
    archs: Sequence[Architecture],
    data: TrainingData,
    tuning: PrivateTuning,
    progress: Progress | None = None,
) -> list[float]:
    """Minus the cross-entropy of each of `archs` after `tuning` alone, from the weights of its region's child."""
    labels = []
    for done, arch in enumerate(archs, 1):
        child = scorer.children[scorer.partition.route(arch)]
        (score,) = privately_tuned(child, [arch], data, scorer.judging, tuning)
        labels.append(-score.cross_entropy)
        if progress is not None:
            progress(done, len(archs), "private fine-tunes")
    return labels
