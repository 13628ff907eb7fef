"""A run for TensorBoard: its events as scalars in TensorBoard's own files."""

from pathlib import Path
from typing import Final

from pipeline.errors import PipelineError
from pipeline.runs.run import Run
from pipeline.tracking.scalars import scalars

_SUFFIX: Final = ".pocketnas"


def to_tensorboard(run: Run, folder: Path) -> int:
    """Write all numbers of the run below `folder`, in place of those written before; returns how many.

    Raises PipelineError where tensorboard is not installed, or `folder` cannot hold it.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise PipelineError(
            "--tensorboard needs tensorboard, which is not installed: pip install tensorboard"
        ) from None
    if folder.exists() and not folder.is_dir():
        raise PipelineError(f"--tensorboard {str(folder)!r} is a file; give the name of a folder")
    before = list(folder.glob(f"*{_SUFFIX}"))
    every = list(scalars(run.events.read()))
    with SummaryWriter(str(folder), filename_suffix=_SUFFIX) as writer:
        for one in every:
            writer.add_scalar(one.name, one.value, one.step, walltime=one.seconds)
    for file in before:
        file.unlink(missing_ok=True)
    return len(every)
