"""A whole run: every stage in order, each told of, and what they found together."""

from collections.abc import Callable, Iterable
from pathlib import Path

from pipeline.runs.comparison import comparison_note
from pipeline.runs.config import Config
from pipeline.runs.documents import Summary
from pipeline.runs.engine import Progress, run_stage
from pipeline.runs.folder import create_or_open
from pipeline.runs.plan import run_plan
from pipeline.runs.preflight import require_sources
from pipeline.runs.run import Run
from pipeline.runs.stages import STAGES
from pipeline.runs.stages.data import require_images
from pipeline.runs.summary import data_lines
from pipeline.runs.team import Team
from pipeline.runs.timed import schedule_lines, scheduled


def run_all(
    config: Config,
    out: Path,
    progress: Progress,
    note: Callable[[str], None],
    renew: bool = False,
    team: Team | None = None,
) -> tuple[Run, Summary]:
    """Bring the run at `out` up to date, from images to a checked file; `note` gets lines for the person.

    A new run where there is none, else the one that is there is continued. With `renew`, what was made from other
    inputs than are there now is made anew. A `team` shares what can be shared. Raises RunError as `create_or_open` and
    `run_stage` do, and what a stage raises; whatever had finished by then stays.
    """
    if not (out / "run.json").exists():
        require_images(config.data)  # images that cannot be used leave no folder behind
        require_sources(config)
    with create_or_open(out, config) as folder:
        run = Run(folder, team)
        return run, all_stages(run, progress, note, renew)


def all_stages(run: Run, progress: Progress, note: Callable[[str], None], renew: bool = False) -> Summary:
    """Every stage of an opened run in order; what has finished stays. The summary of what they found."""
    for stage in STAGES:
        own = run.folder.home(stage.name) == run.path
        if stage.name == "train" and own and run.folder.record("train") is None:
            _tell_plan(run, note)
        done = run_stage(run, stage, progress, renew=renew)
        if stage.name == "data" and own and (lines := data_lines(run)):
            _tell(lines, note)
        if not done.ran_now:
            told = f"had finished ({done.seconds:.1f} s)" if own else f"of {run.folder.home(stage.name)}"
            note(f"{stage.name}: {told}")
    return Summary.load(run.folder.summary)


def _tell_plan(run: Run, note: Callable[[str], None]) -> None:
    """What training will cost and what it will not show, before any of it is spent."""
    if not run.config.train.limited:
        _tell(run_plan(run).lines(), note)
    else:
        note("measuring how long training steps take here")
        _tell(schedule_lines(run, scheduled(run)), note)
    if (left_out := comparison_note(run)) is not None:
        note(left_out)


def _tell(lines: Iterable[str], note: Callable[[str], None]) -> None:
    for line in lines:
        note(line)
