"""Judging architectures of a run: inherited weights, private fine-tunes, and the ranker that learns from these."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from latency_tables.files import write_json
from pipeline.fewshot.partition import Partition
from pipeline.runs.context import normalised_images, run_costs, run_dataset, run_space, training_data
from pipeline.runs.folder import RunFolder, read_json
from pipeline.runs.plan import PRIVATE_BATCHES
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes

if TYPE_CHECKING:
    from pipeline.fewshot.calibration import Calibration
    from pipeline.fewshot.prefix import JudgingImages
    from pipeline.fewshot.ranked import RankedScorer
    from pipeline.fewshot.scores import RegionScorer
    from pipeline.search.evaluators import Evaluator
    from pipeline.supernets.supernet import Supernet

Progress = Callable[[int, int, str], None]
LEAST_LABELS = 8  # fewer teach nothing


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


def private_scorer(run: RunFolder) -> "Evaluator":
    """Minus the cross-entropy (nats) after a private fine-tune; kept in `private.jsonl`, so none is done twice."""
    from pipeline.fewshot.repair import PrivateTuning
    from pipeline.search.evaluators import Remembered, fine_tuned

    tuning = PrivateTuning(PRIVATE_BATCHES, run.config.train.batch_size, seed=run.config.seed)
    data = training_data(run, run_dataset(run))
    run.private.touch()
    return Remembered(fine_tuned(lambda arch: load_child(run, arch), data, judging_images(run), tuning), run.private)


def networks_to_label(run: RunFolder) -> list[Architecture]:
    """`[search] labels` random networks inside the budget; none where too few are inside to learn from."""
    from pipeline.search.pool import Problem

    if not run.config.search.labels:
        return []
    codes, costs = Codes(run_space(run)), run_costs(run)
    problem = Problem(codes, costs, costs.ensure_reachable())
    rows = problem.random(run.config.search.labels, np.random.default_rng([run.config.seed, 11]))
    return list(codes.decode(rows)) if len(rows) >= LEAST_LABELS else []


def label(run: RunFolder, progress: Progress) -> None:
    """Tune privately what the ranker learns from; after a kill only what is missing."""
    archs, scorer = networks_to_label(run), private_scorer(run)
    for done, arch in enumerate(archs, 1):
        scorer.evaluate([arch])
        progress(done, len(archs), "label networks")


def ranked_scorer(run: RunFolder, scorer: "RegionScorer") -> "RankedScorer | None":
    """The ranker that learned from the labels of `label`; None where there are none."""
    from pipeline.fewshot.ranked import RankedScorer

    archs = networks_to_label(run)
    return RankedScorer.learn(scorer, archs, private_scorer(run).evaluate(archs)) if archs else None


def search_scores(run: RunFolder, archs: Sequence[Architecture]) -> list[dict[str, float]]:
    """What is known of each network without training it to the end, by name; higher should be better."""
    scorer = region_scorer(run)
    inherited = scorer(archs)
    scores = [{"inherited score": score} for score in inherited]
    if (ranker := ranked_scorer(run, scorer)) is not None:
        for known, value in zip(scores, ranker.ranked(archs, inherited), strict=True):
            known["learned ranker"] = value
    return scores


class RunScorer:
    """What a run's search ranks networks by, higher is better, in nats of cross-entropy.

    Where the run has labels: what the ranker expects after a private fine-tune; else the inherited score. Every
    judgement is also appended to `judged.jsonl` with its accuracy, which the report shows.
    """

    def __init__(self, run: RunFolder) -> None:
        self._scorer = region_scorer(run)
        self._ranker = ranked_scorer(run, self._scorer)
        self._file = run.judged

    @property
    def fidelity(self) -> str:
        """As evaluators name it."""
        return "inherited" if self._ranker is None else "predictor"

    def __call__(self, archs: Sequence[Architecture]) -> list[float]:
        """One score per network."""
        judged = self._scorer.judged(archs)
        with self._file.open("a") as stream:
            for arch, score in zip(archs, judged, strict=True):
                entry = {"arch": str(arch), "accuracy": score.accuracy, "cross_entropy": score.cross_entropy}
                stream.write(json.dumps(entry) + "\n")
        scores = self._scorer.calibrated([-score.cross_entropy for score in judged], archs)
        return scores if self._ranker is None else self._ranker.ranked(archs, scores)


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
