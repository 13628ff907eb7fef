"""Stage `split`: the space in regions, each with a sub-supernet that inherits from the supernet and trains on."""

import random
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.progress import Progress
from pipeline.runs.curves import curve_of
from pipeline.runs.documents.split import CalibrationFile
from pipeline.runs.engine import CHECKPOINT_SECONDS
from pipeline.runs.run import Run
from pipeline.runs.team import SharedWork
from pipeline.runs.timed import scheduled

if TYPE_CHECKING:
    from pipeline.fewshot.partition import Partition
    from pipeline.supernets.curve import Curve

CALIBRATION_NETWORKS = 12  # a region; their scores by the parent say where the region's own scores belong
INSIDE_NETWORKS: Final = 512  # random ones that tell a criterion what the budget leaves


def work(run: Run, progress: Progress) -> None:
    """Leave `partition.json` and `children/<k>/`; a child that has been trained is not trained again."""
    folder = run.folder
    if not folder.partition.exists():
        _divide(run, progress).save(folder.partition)
    run.team.do(CHILDREN, run, None, progress)
    if run.config.split.calibrate:
        _calibration(run).save(folder.children / "calibration.json")


def _train_children(run: Run, payload: None, progress: Progress) -> None:
    from pipeline.fewshot.children import train_children
    from pipeline.supernets.settings import TrainSettings

    settings = TrainSettings(
        recipe=run.config.train.recipe,
        epochs=scheduled(run).split_epochs,
        continues=True,
        **run.config.train.of_every_training,
        lr=run.config.split.learning_rate,
        seed=run.config.seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )
    late = run.config.split.late

    def curves(number: int, file: Path) -> "Curve":
        return curve_of(run, file, run.partition.regions[number], run.dataset, "split", f"sub-supernet {number}")

    data, folder = run.training_data, run.folder.children
    train_children(run.supernet, run.partition, data, settings, folder, progress, late, curves)


def _calibration(run: Run) -> CalibrationFile:
    from pipeline.ranking.calibration import calibrate
    from pipeline.ranking.scores import scored_by_parent

    partition, scorer = run.partition, run.scorer.uncalibrated
    rng = random.Random(run.config.seed)
    archs = [region.sample(rng) for region in partition.regions for _ in range(CALIBRATION_NETWORKS)]
    by_parent = scored_by_parent(run.supernet, archs, run.judging)
    by_child = [-score.cross_entropy for score in scorer.judged(archs)]
    regions = [partition.route(arch) for arch in archs]
    found = calibrate(by_child, by_parent, regions, len(partition.regions))
    return CalibrationFile(scale=found.scale, shifts=list(found.shifts))


def _divide(run: Run, progress: Progress) -> "Partition":
    import numpy as np
    import torch

    from pipeline.fewshot.criteria import Evidence, divide
    from pipeline.fewshot.decisions import open_decisions

    config = run.config.split
    decisions = open_decisions(run.space, config.decisions)
    data, seed = run.training_data, run.config.seed
    generator = torch.Generator().manual_seed(seed)
    size = min(run.config.train.batch_size, len(data))
    order = torch.randperm(len(data), generator=generator)
    chunks = [chunk for chunk in torch.split(order, size) if len(chunk) == size][: config.gradient_batches]
    batches = [data.training_batch(chunk, generator) for chunk in chunks]
    inside = run.codes.decode(run.feasible.random(INSIDE_NETWORKS, np.random.default_rng(seed)))
    evidence = Evidence(run.supernet, batches, random.Random(seed), progress, inside)
    return divide(run.space, config.criterion, config.regions, evidence, decisions)


CHILDREN: Final = SharedWork("children", _train_children, parallel=True)
