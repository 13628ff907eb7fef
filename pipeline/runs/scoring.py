"""Judging architectures of a run with the weights that they inherit from the sub-supernet of their region."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from latency_tables.files import write_json
from pipeline.fewshot.partition import Partition
from pipeline.runs.context import normalised_images, run_dataset
from pipeline.runs.folder import RunFolder, read_json
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from pipeline.fewshot.calibration import Calibration
    from pipeline.fewshot.prefix import JudgingImages
    from pipeline.fewshot.scores import RegionScorer
    from pipeline.supernets.supernet import Supernet


def load_child(run: RunFolder, arch: Architecture) -> "Supernet":
    """The sub-supernet of the region that `arch` belongs to."""
    from pipeline.fewshot.children import child_file
    from pipeline.supernets.files import load_supernet

    return load_supernet(child_file(run.children, Partition.load(run.partition).route(arch)))


def judging_images(run: RunFolder) -> "JudgingImages":
    """What every architecture of the run is judged on."""
    from pipeline.fewshot.prefix import JudgingImages

    dataset, count, seed = run_dataset(run), run.config.search.images, run.config.seed
    batchnorm_images, _ = normalised_images(dataset.train, dataset, count, seed)
    return JudgingImages(batchnorm_images, *normalised_images(dataset.search, dataset, count, seed))


def region_scorer(run: RunFolder) -> "RegionScorer":
    """Scores by the trained sub-supernets, calibrated between regions where `save_calibration` has run."""
    from pipeline.fewshot.calibration import Calibration
    from pipeline.fewshot.children import load_children
    from pipeline.fewshot.scores import RegionScorer

    partition = Partition.load(run.partition)
    file = run.children / "calibration.json"
    calibration = None
    if file.exists():
        document = read_json(file)
        calibration = Calibration(document["scale"], tuple(document["shifts"]))
    return RegionScorer(partition, load_children(partition, run.children), judging_images(run), calibration)


def save_calibration(run: RunFolder, calibration: "Calibration") -> None:
    """Keep beside the children what makes their scores comparable."""
    document = {"schema_version": 1, "scale": calibration.scale, "shifts": list(calibration.shifts)}
    write_json(run.children / "calibration.json", document)


class RecordedScorer:
    """The run's scorer for a search: minus the calibrated cross-entropy (nats), higher is better.

    Every judgement is also appended to `judged.jsonl` with its accuracy, which the report shows.
    """

    def __init__(self, run: RunFolder) -> None:
        self._scorer = region_scorer(run)
        self._file = run.judged

    def __call__(self, archs: Sequence[Architecture]) -> list[float]:
        """One score per network."""
        judged = self._scorer.judged(archs)
        with self._file.open("a") as stream:
            for arch, score in zip(archs, judged, strict=True):
                entry = {"arch": str(arch), "accuracy": score.accuracy, "cross_entropy": score.cross_entropy}
                stream.write(json.dumps(entry) + "\n")
        return self._scorer.calibrated([-score.cross_entropy for score in judged], archs)


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
