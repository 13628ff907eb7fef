"""Methods that relax the space, in a run: train the relaxation, and read off the networks that the study judges."""

from typing import TYPE_CHECKING

from pipeline.progress import Progress
from pipeline.runs.documents.search import RelaxedFile
from pipeline.runs.engine import CHECKPOINT_SECONDS
from pipeline.runs.run import Run
from pipeline.runs.timed import scheduled
from pipeline.search.settings import Relaxing
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from pipeline.relax.settings import RelaxSettings


def relaxed_networks(run: Run, method: Relaxing, progress: Progress) -> list[Architecture]:
    """The networks inside the budget that `method` ends as, its own choice first.

    As many as `[search] evaluations`, where there are so many. The training is continued after a kill; what it
    ended as is kept in `relaxed/relaxed.json`. Raises InfeasibleBudget before anything is trained.
    """
    from pipeline.relax.gates import most_probable
    from pipeline.relax.read_off import feasible_networks
    from pipeline.relax.training import relax
    from pipeline.supernets.supernet import inherit

    folder = run.folder.relaxed
    file, checkpoint = folder / "relaxed.json", folder / "checkpoint.safetensors"
    if not file.exists():
        feasible = run.feasible
        found = relax(
            run.compute.placed(inherit(run.supernet, run.space)),  # a copy: others judge by the supernet as it is
            run.training_data,
            run.costs,
            _settings(run, method),
            checkpoint,
            lambda done, total, what: progress(done, total, "relax the space"),
        )
        archs = feasible_networks(run.space, found.gates, feasible, run.config.search.evaluations, run.config.seed)
        RelaxedFile(
            method=method,
            archs=[str(arch) for arch in archs],
            most_probable=str(most_probable(run.space, found.gates)),
            multipliers=found.multipliers,
            losses=[round(loss, 5) for loss in found.losses],
        ).save(file)
    checkpoint.unlink(missing_ok=True)
    return [Architecture.parse(arch) for arch in RelaxedFile.load(file).archs]


def _settings(run: Run, method: Relaxing) -> "RelaxSettings":
    from pipeline.relax.settings import RelaxSettings

    config = run.config
    # Under [train] minutes as many epochs as the supernet got: one of the largest network is no dearer than its steps.
    timed = config.train.limited
    return RelaxSettings(
        method=method,
        epochs=scheduled(run).train_epochs if timed else config.search.relax_epochs,
        batch_size=config.train.batch_size,
        lr=config.search.relax_learning_rate,
        seed=config.seed,
        checkpoint_seconds=CHECKPOINT_SECONDS,
    )
