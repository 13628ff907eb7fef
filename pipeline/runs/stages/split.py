"""Stage `split`: the space in regions, each with a sub-supernet that inherits from the supernet and trains on."""

import random

from pipeline.fewshot.partition import Partition
from pipeline.runs.context import run_dataset, run_space, training_data
from pipeline.runs.engine import Progress
from pipeline.runs.folder import RunFolder
from pipeline.runs.scoring import child_path
from pipeline.runs.stages.train import CHECKPOINT_SECONDS

GRADIENT_BATCHES = 4


def work(run: RunFolder, progress: Progress) -> None:
    """Leave `partition.json` and `children/<k>/`; a child that has been trained is not trained again."""
    from pipeline.supernets.files import load_supernet, save_supernet
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.supernet import inherit
    from pipeline.supernets.training import train

    parent = load_supernet(run.supernet / "supernet.safetensors")
    if not run.partition.exists():
        _divide(run, progress).save(run.partition)
    partition = Partition.load(run.partition)
    data = training_data(run, run_dataset(run))
    settings = TrainSettings(
        recipe=run.config.train.recipe,
        epochs=run.config.split.epochs,
        batch_size=run.config.train.batch_size,
        lr=run.config.split.learning_rate,
        seed=run.config.seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )
    for number, region in enumerate(partition.regions):
        if child_path(run, number).exists():
            continue
        child = inherit(parent, region)
        checkpoint = child_path(run, number).with_name("checkpoint.safetensors")
        what = f"train sub-supernet {number + 1} of {len(partition.regions)}"
        train(child, data, settings, checkpoint, lambda done, total, _, what=what: progress(done, total, what))
        save_supernet(child, child_path(run, number))
        checkpoint.unlink(missing_ok=True)


def _divide(run: RunFolder, progress: Progress) -> Partition:
    import torch

    from pipeline.fewshot.criteria import Evidence, divide
    from pipeline.supernets.files import load_supernet

    data, seed = training_data(run, run_dataset(run)), run.config.seed
    generator = torch.Generator().manual_seed(seed)
    size = min(run.config.train.batch_size, len(data))
    order = torch.randperm(len(data), generator=generator)
    batches = [data.training_batch(order[i * size : (i + 1) * size], generator) for i in range(GRADIENT_BATCHES)]
    batches = [batch for batch in batches if len(batch[1])]
    supernet = load_supernet(run.supernet / "supernet.safetensors")
    evidence = Evidence(supernet, batches, random.Random(seed), progress)
    return divide(run_space(run), run.config.split.criterion, run.config.split.regions, evidence)
