"""Networks trained alone from random weights, watched on the way: what Hyperband stops and BOHB learns from."""

import copy
import hashlib
import math
from dataclasses import asdict
from pathlib import Path

from pipeline.fewshot.prefix import JudgingImages
from pipeline.search.evaluators import Remembered, Report, Scored
from pipeline.search.rungs import is_rung
from pipeline.search.score_log import ScoreLog
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import evaluate, refresh_batchnorm
from pipeline.supernets.network import Network
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.steps import EpochEnd
from pipeline.supernets.training import train


class FromScratch(Remembered):
    """Accuracy (a share) of each network after training alone from random weights: the ground truth, and slow.

    Scores, accuracies on the way and checkpoints are kept in `folder` by recipe and network: a training that was killed
    continues, and one that is done is never repeated. Initial weights, batches and augmentation derive from
    `settings.seed`.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: TrainingData,
        judging: JudgingImages,
        settings: TrainSettings,
        folder: Path,
    ) -> None:
        recipe = hashlib.sha256(repr(sorted(asdict(settings).items())).encode()).hexdigest()[:16]
        place = folder / recipe
        place.mkdir(parents=True, exist_ok=True)
        score = Scored("from-scratch", lambda archs: [self._trained(arch) for arch in archs])
        super().__init__(score, place / "scores.jsonl")
        self._space, self._data, self._judging, self._settings, self._place = space, data, judging, settings, place
        self._curves = ScoreLog(place / "curves.jsonl")

    @property
    def epochs(self) -> int:
        """How long a network is trained at most."""
        return math.ceil(self._settings.epochs)

    def watched(self, arch: Architecture, report: Report) -> float:
        """The accuracy at the end; what is known of the way there is told again first.

        What `report` raises ends the training, which goes on from its checkpoint if the network is asked for again.
        """
        for epoch, accuracy in self._curve(arch).items():
            report(epoch, accuracy)
        if self.unknown([arch]):
            self.keep(self._timed(arch, lambda: self._trained(arch, report)))
        (score,) = self.evaluate([arch])
        report(self.epochs, score)
        return score

    def _curve(self, arch: Architecture) -> dict[int, float]:
        known = self._curves.known().get(str(arch), {})
        return {epoch: known[str(epoch)] for epoch in sorted(map(int, known)) if epoch < self.epochs}

    def _trained(self, arch: Architecture, report: Report | None = None) -> float:
        network = Network(self._space.blocks(arch), self._settings.seed, self._space.batchnorm_eps)
        checkpoint = self._place / f"{hashlib.sha256(str(arch).encode()).hexdigest()[:16]}.safetensors"

        def on_epoch(end: EpochEnd) -> None:
            epoch = round(end.epoch)
            if report is None or end.last or not is_rung(epoch) or epoch in self._curve(arch):
                return
            accuracy = self._accuracy(copy.deepcopy(network).eval())
            self._curves.add({str(arch): {**self._curves.known().get(str(arch), {}), str(epoch): accuracy}})
            report(epoch, accuracy)

        train(network, self._data, self._settings, checkpoint, on_epoch=on_epoch)
        accuracy = self._accuracy(network)
        checkpoint.unlink(missing_ok=True)
        return accuracy

    def _accuracy(self, network: Network) -> float:
        refresh_batchnorm(network, self._judging.bn_images)
        return evaluate(network, self._judging.images, self._judging.labels).accuracy
