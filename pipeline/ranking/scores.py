"""Scores of networks by the sub-supernet of their region: comparable between regions, higher is better."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.fewshot.decisions import SplitError
from pipeline.fewshot.partition import Partition
from pipeline.fewshot.prefix import JudgingImages, judge_all
from pipeline.progress import Progress
from pipeline.ranking.calibration import RegionCalibration
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.evaluate import Score
from pipeline.supernets.supernet import Supernet


@dataclass(frozen=True)
class RegionScorer:
    """Minus the cross-entropy (nats) of each network with the weights of its region's child, calibrated.

    Cross-entropy ranks better than accuracy while networks are weak (docs/results/fewshot.md). All regions see the
    same images; one child per region, in their order.
    """

    partition: Partition
    children: Sequence[Supernet]
    judging: JudgingImages
    calibration: RegionCalibration | None = None

    def __post_init__(self) -> None:
        if len(self.children) != len(self.partition.regions):
            raise SplitError(f"{len(self.children)} sub-supernets for {len(self.partition.regions)} regions")

    def __call__(self, archs: Sequence[Architecture], progress: Progress | None = None) -> list[float]:
        """One score per network, in their order; ArchitectureError for a network outside the space."""
        return self.calibrated([-score.cross_entropy for score in self.judged(archs, progress)], archs)

    def calibrated(self, raw: Sequence[float], archs: Sequence[Architecture]) -> list[float]:
        """The scores `raw` of `archs` on the scale that all regions share."""
        if self.calibration is None:
            return list(raw)
        return self.calibration(raw, [self.partition.route(arch) for arch in archs])

    def judged(self, archs: Sequence[Architecture], progress: Progress | None = None) -> list[Score]:
        """Accuracy and cross-entropy of each network, not calibrated."""
        scores: list[Score | None] = [None] * len(archs)
        for child, positions in zip(self.children, self.partition.by_region(archs), strict=True):
            found = judge_all(child, [archs[i] for i in positions], self.judging, progress) if positions else []
            for position, score in zip(positions, found, strict=True):
                scores[position] = score
        return [score for score in scores if score is not None]


def scored_by_parent(parent: Supernet, archs: Sequence[Architecture], judging: JudgingImages) -> list[float]:
    """Minus the cross-entropy of each network with the parent's weights: the cheapest reference for calibration."""
    return [-score.cross_entropy for score in judge_all(parent, archs, judging)]
