"""Stage `split`: the space in regions, each with a sub-supernet that inherits from the supernet and trains on."""

import random
from typing import TYPE_CHECKING

from pipeline.fewshot.partition import Partition
from pipeline.runs.context import run_dataset, run_space, training_data
from pipeline.runs.engine import Progress
from pipeline.runs.folder import RunFolder
from pipeline.runs.plan import GRADIENT_BATCHES
from pipeline.runs.scoring import region_scorer, save_calibration
from pipeline.runs.stages.train import CHECKPOINT_SECONDS

if TYPE_CHECKING:
    from pipeline.supernets.data import TrainingData
    from pipeline.supernets.supernet import Supernet

CALIBRATION_NETWORKS = 12  # a region; their scores by the parent say where the region's own scores belong


def work(run: RunFolder, progress: Progress) -> None:
    """Leave `partition.json` and `children/<k>/`; a child that has been trained is not trained again."""
    from pipeline.fewshot.children import train_children
    from pipeline.supernets.files import load_supernet
    from pipeline.supernets.settings import TrainSettings

    parent = load_supernet(run.supernet / "supernet.safetensors")
    data = training_data(run, run_dataset(run))
    if not run.partition.exists():
        _divide(run, parent, data, progress).save(run.partition)
    partition = Partition.load(run.partition)
    settings = TrainSettings(
        recipe=run.config.train.recipe,
        epochs=run.config.split.epochs,
        batch_size=run.config.train.batch_size,
        lr=run.config.split.learning_rate,
        seed=run.config.seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )
    train_children(parent, partition, data, settings, run.children, progress, run.config.split.late)
    if run.config.split.calibrate:
        _calibrate(run, partition, parent)


def _calibrate(run: RunFolder, partition: Partition, parent: "Supernet") -> None:
    from pipeline.ranking.calibration import calibrate
    from pipeline.ranking.scores import scored_by_parent

    scorer = region_scorer(run)
    rng = random.Random(run.config.seed)
    archs = [region.sample(rng) for region in partition.regions for _ in range(CALIBRATION_NETWORKS)]
    by_parent = scored_by_parent(parent, archs, scorer.judging)
    by_child = [-score.cross_entropy for score in scorer.judged(archs)]
    regions = [partition.route(arch) for arch in archs]
    save_calibration(run, calibrate(by_child, by_parent, regions, len(partition.regions)))


def _divide(run: RunFolder, supernet: "Supernet", data: "TrainingData", progress: Progress) -> Partition:
    import torch

    from pipeline.fewshot.criteria import Evidence, divide

    generator = torch.Generator().manual_seed(run.config.seed)
    size = min(run.config.train.batch_size, len(data))
    order = torch.randperm(len(data), generator=generator)
    chunks = [chunk for chunk in torch.split(order, size) if len(chunk) == size][:GRADIENT_BATCHES]
    batches = [data.training_batch(chunk, generator) for chunk in chunks]
    evidence = Evidence(supernet, batches, random.Random(run.config.seed), progress)
    return divide(run_space(run), run.config.split.criterion, run.config.split.regions, evidence)
