"""What one supernet of NAS-Bench-Macro says of networks, kept in files so that nothing is judged twice."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.ranking.macro_data import judging_images, training_data
from benchmarks.ranking.macro_train import at_resolution
from pipeline.fewshot.prefix import JudgingImages, judge_all
from pipeline.ranking.private_tuning import PrivateTuning, privately_tuned
from pipeline.search.score_log import ScoreLog
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.evaluate import Score
from pipeline.supernets.files import load_supernet
from pipeline.supernets.supernet import Supernet

AT_ONCE = 60


@dataclass(frozen=True)
class Judged:
    """The networks that one supernet has judged, in a file of its own; others are judged when they are asked for."""

    folder: Path
    pixels: int
    batchnorm_images: int
    images: int

    @cached_property
    def log(self) -> ScoreLog:
        """Accuracy and cross-entropy by network."""
        return ScoreLog(self.folder / f"judged-{self.pixels}px.jsonl", "accuracy", "cross_entropy")

    @cached_property
    def supernet(self) -> Supernet:
        return at_resolution(load_supernet(self.folder / "oneshot.safetensors"), self.pixels)

    @cached_property
    def judging(self) -> JudgingImages:
        return judging_images(self.folder.parent, "cpu", self.batchnorm_images, self.images)

    def scores(self, archs: Sequence[Architecture]) -> list[float]:
        """Minus the cross-entropy of each."""
        self.judge(archs)
        known = self.log.known()
        return [-known[str(arch)]["cross_entropy"] for arch in archs]

    def knows(self, archs: Sequence[Architecture]) -> bool:
        """Whether all have been judged."""
        return {str(arch) for arch in archs} <= self.log.known().keys()

    def judge(self, archs: Sequence[Architecture], seconds: float = math.inf) -> bool:
        """Judge what is new for so many CPU seconds; whether everything is known then."""
        known = self.log.known()
        new = sorted((arch for arch in archs if str(arch) not in known), key=str)  # neighbours share beginnings
        for first in range(0, len(new), AT_ONCE):
            part = new[first : first + AT_ONCE]
            if time.process_time() > seconds:
                return False
            small = [Architecture(self.pixels, arch.stages) for arch in part]
            self.log.add(_entries(part, judge_all(self.supernet, small, self.judging)))
            print(
                f"{time.strftime('%H:%M:%S')} {self.folder.name}: {len(self.log.known())}", file=sys.stderr, flush=True
            )
        return True

    @cached_property
    def privates(self) -> ScoreLog:
        """The same after a private fine-tune."""
        return ScoreLog(self.folder / f"private-{self.pixels}px.jsonl", "accuracy", "cross_entropy")

    def private(self, archs: Sequence[Architecture]) -> list[float]:
        """Minus the cross-entropy of each after ten batches trained alone, as `[search] private` does it."""
        known = self.privates.known()
        new = [arch for arch in archs if str(arch) not in known]
        if new:
            small = [Architecture(self.pixels, arch.stages) for arch in new]
            data = training_data(self.folder.parent, "cpu")
            found = privately_tuned(self.supernet, small, data, self.judging, PrivateTuning(10, 64))
            self.privates.add(_entries(new, found))
        known = self.privates.known()
        return [-known[str(arch)]["cross_entropy"] for arch in archs]


def _entries(archs: Sequence[Architecture], scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    found = zip(archs, scores, strict=True)
    return {str(arch): {"accuracy": score.accuracy, "cross_entropy": score.cross_entropy} for arch, score in found}
