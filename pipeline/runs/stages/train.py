"""Stage `train`: the one-shot supernet."""

import math

from latency_tables.files import write_json
from pipeline.errors import PipelineError
from pipeline.runs.context import run_dataset, run_space, training_data
from pipeline.runs.engine import Progress
from pipeline.runs.folder import RunFolder

CHECKPOINT_SECONDS = 10.0


def work(run: RunFolder, progress: Progress) -> None:
    """Train the supernet, continuing its checkpoint where there is one; leave its weights and losses."""
    from pipeline.supernets.files import save_supernet
    from pipeline.supernets.settings import TrainSettings
    from pipeline.supernets.supernet import Supernet
    from pipeline.supernets.training import train

    config = run.config.train
    supernet = Supernet(run_space(run), seed=run.config.seed)
    settings = TrainSettings(
        recipe=config.recipe,
        epochs=config.epochs,
        batch_size=config.batch_size,
        lr=config.learning_rate,
        seed=run.config.seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )
    checkpoint = run.supernet / "checkpoint.safetensors"
    data = training_data(run, run_dataset(run))
    result = train(
        supernet, data, settings, checkpoint, lambda done, total, what: progress(done, total, "train supernet")
    )
    if not all(map(math.isfinite, result.losses)):
        checkpoint.unlink(missing_ok=True)
        raise PipelineError(
            f"training diverged: the loss is no number; lower [train] learning_rate = {config.learning_rate:g}"
        )
    save_supernet(supernet, run.supernet / "supernet.safetensors")
    write_json(run.supernet / "losses.json", {"schema_version": 1, "losses": [round(x, 5) for x in result.losses]})
    checkpoint.unlink(missing_ok=True)
