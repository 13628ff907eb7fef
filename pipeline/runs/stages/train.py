"""Stage `train`: the one-shot supernet."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.data.dataset import Dataset
from pipeline.errors import PipelineError
from pipeline.progress import Progress
from pipeline.runs.curves import curve_of
from pipeline.runs.documents.train import Losses, StartFile
from pipeline.runs.engine import CHECKPOINT_SECONDS, counted
from pipeline.runs.run import Run
from pipeline.runs.team import SharedWork
from pipeline.runs.timed import scheduled

if TYPE_CHECKING:
    from pipeline.supernets.supernet import Supernet

NONE = "none"  # of [train] start: random weights


def work(run: Run, progress: Progress) -> None:
    """Train the supernet, continuing its checkpoint where there is one; leave its weights and losses."""
    from pipeline.supernets.files import save_supernet

    scheduled(run)
    supernet, losses = run.team.do(SUPERNET, run, None, progress)
    checkpoint = _checkpoint(run)
    if not all(map(math.isfinite, losses)):
        checkpoint.unlink(missing_ok=True)
        rate = run.config.train.learning_rate
        raise PipelineError(f"training diverged: the loss is no number; lower [train] learning_rate = {rate:g}")
    save_supernet(supernet, run.folder.supernet / "supernet.safetensors")
    Losses(losses=[round(loss, 5) for loss in losses]).save(run.folder.supernet / "losses.json")
    checkpoint.unlink(missing_ok=True)


def _train_supernet(run: Run, payload: None, progress: Progress) -> "tuple[Supernet, tuple[float, ...]]":
    """The trained supernet and the loss of each step; of several processes the first one writes the checkpoint."""
    from pipeline.supernets.recipes import RECIPES
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.supernet import Supernet
    from pipeline.supernets.training import train

    config = run.config.train
    supernet = Supernet(run.space, config.sharing, run.config.seed)
    if config.start == NONE and RECIPES[config.recipe](run.space)[0].zero_gamma:
        supernet.zero_gammas()
    dataset = run.dataset if config.start == NONE else _start(run, supernet)
    supernet = run.compute.placed(supernet)
    settings = TrainSettings(
        recipe=config.recipe,
        epochs=scheduled(run).train_epochs,
        **config.of_every_training,
        lr=config.learning_rate,
        seed=run.config.seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )
    result = train(
        supernet,
        run.augmented(dataset),
        settings,
        _checkpoint(run),
        counted(progress, min(config.batch_size, len(dataset.train)), "train supernet"),
        curve_of(run, run.folder.curve, run.space, dataset, "train", "supernet"),
    )
    return supernet, result.losses


def _start(run: Run, supernet: "Supernet") -> Dataset:
    """Fill the supernet with published weights and write down whose; returns the images as those expect them."""
    from pipeline.supernets.distributed import is_first
    from pipeline.weights.sources import open_weights
    from pipeline.weights.start import start_supernet

    dataset = run.dataset
    start = start_supernet(supernet, open_weights(run.config.train.start), dataset.classes)
    if is_first():
        StartFile.model_validate(start.to_document()).save(run.folder.start)
    about = start.weights.provenance
    return replace(dataset, mean=about.mean, std=about.std)


def _checkpoint(run: Run) -> Path:
    return run.folder.supernet / "checkpoint.safetensors"


SUPERNET: Final = SharedWork("supernet", _train_supernet, parallel=True)
