"""Judging architectures of a run: inherited weights, private fine-tunes, and the ranker that learns from these."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from latency_tables.files import write_json
from pipeline.fewshot.partition import Partition
from pipeline.ranking.ranker import FEWEST_LABELS
from pipeline.runs.context import normalised_images, run_costs, run_dataset, run_space, training_data
from pipeline.runs.folder import RunFolder, read_json
from pipeline.runs.plan import JUDGED_FOR_RANKER
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes

if TYPE_CHECKING:
    from pipeline.fewshot.prefix import JudgingImages
    from pipeline.ranking.calibration import Calibration
    from pipeline.ranking.ranked import RankedScorer
    from pipeline.ranking.scores import RegionScorer
    from pipeline.search.evaluators import Evaluator
    from pipeline.supernets.supernet import Supernet

Progress = Callable[[int, int, str], None]


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
    from pipeline.fewshot.children import load_children
    from pipeline.ranking.calibration import Calibration
    from pipeline.ranking.scores import RegionScorer

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
    from pipeline.ranking.repair import PrivateTuning
    from pipeline.search.evaluators import Remembered, fine_tuned

    config = run.config
    tuning = PrivateTuning(config.search.private_batches, config.train.batch_size, seed=config.seed)
    data = training_data(run, run_dataset(run))
    run.private.touch()
    return Remembered(fine_tuned(lambda arch: load_child(run, arch), data, judging_images(run), tuning), run.private)


class InheritedScorer:
    """Minus the calibrated cross-entropy (nats) with inherited weights, higher is better.

    With `record`, every judgement is kept in `judged.jsonl` with its accuracy, which the report shows; what is
    kept is not judged again.
    """

    def __init__(self, run: RunFolder, record: bool) -> None:
        self._run, self._scorer, self._record = run, region_scorer(run), record
        self._known: dict[str, float] = {}

    def __call__(self, archs: Sequence[Architecture], progress: Progress | None = None) -> list[float]:
        """One score per network; those judged together share beginnings."""
        if any(str(arch) not in self._known for arch in archs):
            # Another worker may have judged them, even one that was killed before it told the study.
            self._known |= {arch: entry["cross_entropy"] for arch, entry in _judged(self._run).items()}
        new = [arch for arch in dict.fromkeys(archs) if str(arch) not in self._known]
        judged = dict(zip(map(str, new), self._scorer.judged(new, progress), strict=True))
        self._known |= {arch: score.cross_entropy for arch, score in judged.items()}
        if self._record:
            with self._run.judged.open("a") as stream:
                for arch, score in judged.items():
                    entry = {"arch": arch, "accuracy": score.accuracy, "cross_entropy": score.cross_entropy}
                    # The line comes to its end first: it may be one that a kill tore.
                    stream.write("\n" + json.dumps(entry))
        return self._scorer.calibrated([-self._known[str(arch)] for arch in archs], archs)


class SearchScorer:
    """What a run's search ranks networks by, higher is better.

    By `[search] rank_by`: the inherited score, or the ranker. The first scorer of a run judges and labels what the
    ranker learns from, later ones read it.
    """

    def __init__(self, run: RunFolder, progress: Progress | None = None, record: bool = True) -> None:
        self._inherited = InheritedScorer(run, record)
        archs = networks_to_judge(run)
        self._ranker = _learned(run, archs, self._inherited, progress) if archs else None

    @property
    def ranked_by(self) -> str:
        """What orders the networks, for people."""
        if self._ranker is None:
            return "inherited score"
        if self._ranker.ranker is None:
            return "score, size and ops"
        return f"score, size and ops, with {len(self._ranker.ranker.ridge.leave_one_out)} labels"

    def __call__(self, archs: Sequence[Architecture]) -> list[float]:
        """One score per network."""
        scores = self._inherited(archs)
        return scores if self._ranker is None else self._ranker(archs, scores)

    def proxies(self, archs: Sequence[Architecture]) -> list[dict[str, float]]:
        """What is known of each network without training it to the end, by name; higher should be better."""
        inherited = self._inherited(archs)
        proxies = [{"inherited score": score} for score in inherited]
        if self._ranker is not None:
            for known, value in zip(proxies, self._ranker(archs, inherited), strict=True):
                known["ranker"] = value
        return proxies


def networks_to_judge(run: RunFolder) -> list[Architecture]:
    """Random networks inside the budget that the ranker learns from, the first `[search] labels` of them by label.

    None where no ranker is asked for, or too few networks are inside the budget to learn from.
    """
    from pipeline.search.pool import Problem

    labels = run.config.search.labels
    if run.config.search.rank_by != "ranker":
        return []
    codes, costs = Codes(run_space(run)), run_costs(run)
    problem = Problem(codes, costs, costs.ensure_reachable())
    rows = problem.random(max(labels, JUDGED_FOR_RANKER), np.random.default_rng([run.config.seed, 11]))
    return list(codes.decode(rows)) if len(rows) >= FEWEST_LABELS else []


def _learned(
    run: RunFolder, archs: Sequence[Architecture], inherited: InheritedScorer, progress: Progress | None
) -> "RankedScorer":
    from pipeline.ranking.ranked import RankedScorer

    scores, private, labels = inherited(archs, progress), private_scorer(run), []
    labelled = archs[: run.config.search.labels]
    for done, arch in enumerate(labelled, 1):
        labels += private.evaluate([arch])
        if progress is not None:
            progress(done, len(labelled), "label networks")
    return RankedScorer.learn(Partition.load(run.partition), archs, scores, labels)


def judged_accuracies(run: RunFolder) -> dict[str, float]:
    """Search accuracy with inherited weights of every architecture that the search judged."""
    return {arch: entry["accuracy"] for arch, entry in _judged(run).items()}


def _judged(run: RunFolder) -> dict[str, dict[str, float]]:
    lines = run.judged.read_text().splitlines() if run.judged.exists() else []
    judged = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # the empty first line, or one that a kill tore: its network is judged again
        judged[entry["arch"]] = entry
    return judged
