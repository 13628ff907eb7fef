"""A run by all processes that `torchrun` started: the first one leads through the stages, the others follow.

What can be shared: training of the supernet and the sub-supernets (data-parallel), judging for the ranker, private
fine-tunes, and the networks that are trained alone. Everything else only the first process does. It alone holds the
folder; the others write nothing but the networks that they train.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pipeline.errors import PipelineError
from pipeline.runs.config import Config
from pipeline.runs.config_file import differing_key
from pipeline.runs.folder import open_run
from pipeline.runs.preflight import require_device
from pipeline.runs.run import Run
from pipeline.runs.scoring import JUDGING, PRIVATE
from pipeline.runs.stages.finetune import NETWORKS
from pipeline.runs.stages.split import CHILDREN
from pipeline.runs.stages.train import SUPERNET
from pipeline.runs.team import SharedWork, Team, join

WORK: Final[dict[str, SharedWork]] = {work.name: work for work in (SUPERNET, CHILDREN, JUDGING, PRIVATE, NETWORKS)}
_VISIBLE_SECONDS: Final = 30.0  # that a network file system may take to show a new file


class Followed(Exception):
    """This process has helped another one; `failed` where the run ended with an error, which that one tells."""

    def __init__(self, failed: bool) -> None:
        super().__init__("this process followed another one")
        self.failed = failed


@contextlib.contextmanager
def led_by_first(out: Path, configured: Callable[[], Config]) -> Iterator[tuple[Team, Config]]:
    """The first process's team and configuration; the others do their share and leave with `Followed`.

    Raises PipelineError where a process began with another configuration than the first one, or failed.
    """
    team = join()
    if team.rank:
        raise Followed(_follow(team, out, configured))
    failed = True
    try:
        config = configured()
        team.agree(_told(config), differing_key)
        yield team, config
        failed = False
    finally:
        team.end(failed)


def _follow(team: Team, out: Path, configured: Callable[[], Config]) -> bool:
    """Help until the first process is done; whether it ended with an error. Nothing is printed here."""
    failure: str | None = None
    try:
        config = configured()
        require_device(config)
        team.begin(_told(config))
        team.orders(WORK, lambda: _opened(out, config, team))
    except KeyboardInterrupt:
        return True  # whoever stops one process stops all
    except Exception as error:  # the first process tells of it, whatever it is
        kind = "" if isinstance(error, PipelineError | OSError) else f"internal error: {type(error).__name__}: "
        failure = f"{kind}{error}"
    team.leave(failure)
    return failure is not None


def _opened(out: Path, config: Config, team: Team) -> Run:
    """The run that the first process leads, worked on as this process was told to."""
    ends = time.monotonic() + _VISIBLE_SECONDS
    while not (out / "run.json").exists():
        if time.monotonic() > ends:
            raise PipelineError(f"{out / 'run.json'} is not there; all processes need the same shared --out folder")
        time.sleep(0.2)
    if not os.access(out, os.W_OK):
        raise PipelineError(f"{out} cannot be written to; all processes need write access to the shared folder")
    folder = open_run(out)
    train = folder.config.train.model_copy(update={"device": config.train.device})
    return Run(replace(folder, config=folder.config.model_copy(update={"train": train})), team)


def _told(config: Config) -> dict[str, Any]:
    """The configuration without how each process works and where scores are kept."""
    return config.model_dump(mode="json", exclude={"search": {"workers", "storage"}, "train": {"device"}})
