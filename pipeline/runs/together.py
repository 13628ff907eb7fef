"""Training under `torchrun`: the first process does the stage, the others lend it their share of every batch.

Only the first one holds the folder and writes files.
"""

import os

from pipeline.errors import PipelineError
from pipeline.runs.engine import Progress, require_finished, run_stage
from pipeline.runs.record import StageTime
from pipeline.runs.run import Run
from pipeline.runs.stages import STAGES, train


def under_torchrun() -> bool:
    """Whether `torchrun` started this process beside others."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def refuse_torchrun(what: str) -> None:
    """PipelineError under `torchrun`, for what one process does."""
    if under_torchrun():
        raise PipelineError(
            f"'{what}' is done by one process; under torchrun only 'pocketnas train RUN' is, the rest without it"
        )


def train_together(run: Run, progress: Progress, again: bool) -> StageTime | None:
    """The stage `train`, by all processes that `torchrun` started; None in those that only helped.

    Raises what the stage raises; `torchrun` then ends the others.
    """
    import torch.distributed as dist

    from pipeline.supernets.distributed import is_first, join_processes

    join_processes()
    done, folder = None, run.folder
    if is_first():
        with folder.lock():
            done = run_stage(run, require_finished(folder, STAGES, "train"), progress, again)
        if not done.ran_now:
            train.call_helpers(False)
    elif train.called():
        train.train_supernet(run, lambda done, total, what: None)
    dist.destroy_process_group()
    return done
