"""Judging architectures of a run with the weights that they inherit from the sub-supernet of their region."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.fewshot.partition import Partition
from pipeline.runs.context import normalised_images, run_dataset
from pipeline.runs.folder import RunFolder
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from pipeline.supernets.evaluate import Score
    from pipeline.supernets.supernet import Supernet


def child_path(run: RunFolder, region: int) -> Path:
    """Where the trained sub-supernet of a region is."""
    return run.children / str(region) / "supernet.safetensors"


def load_child(run: RunFolder, arch: Architecture) -> "Supernet":
    """The sub-supernet of the region that `arch` belongs to."""
    from pipeline.supernets.files import load_supernet

    return load_supernet(child_path(run, Partition.load(run.partition).route(arch)))


class RunScorer:
    """Scores architectures: the mean likelihood exp(-cross-entropy) of the right class, between 0 and 1.

    It orders networks as the cross-entropy does, which ranks them better than accuracy. All networks see the
    same BatchNorm and the same search images. Every judgement is also kept in `judged.jsonl` with its accuracy.
    """

    def __init__(self, run: RunFolder) -> None:
        from pipeline.supernets.files import load_supernet

        self._partition = Partition.load(run.partition)
        self._children = [load_supernet(child_path(run, k)) for k in range(len(self._partition.regions))]
        dataset, count, seed = run_dataset(run), run.config.search.images, run.config.seed
        self._batchnorm_images, _ = normalised_images(dataset.train, dataset, count, seed)
        self._images, self._labels = normalised_images(dataset.search, dataset, count, seed)
        self._file = run.judged

    def __call__(self, archs: Sequence[Architecture]) -> list[float]:
        """One score per network."""
        scores = [self._judge(arch) for arch in archs]
        lines = [
            {"arch": str(arch), "accuracy": score.accuracy, "cross_entropy": score.cross_entropy}
            for arch, score in zip(archs, scores, strict=True)
        ]
        with self._file.open("a") as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in lines))
        return [math.exp(-score.cross_entropy) for score in scores]

    def _judge(self, arch: Architecture) -> "Score":
        from pipeline.supernets.evaluate import judge

        child = self._children[self._partition.route(arch)]
        return judge(child, arch, self._batchnorm_images, self._images, self._labels)


def judged_accuracies(run: RunFolder) -> dict[str, float]:
    """Search accuracy with inherited weights of every architecture that the search judged."""
    lines = run.judged.read_text().splitlines() if run.judged.exists() else []
    accuracies = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # the line that a kill tore; its network was judged again
        accuracies[entry["arch"]] = entry["accuracy"]
    return accuracies
