"""A whole run: every stage in order, each told of, and what they found together."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.runs.begin import create_or_open
from pipeline.runs.comparison import comparison_note
from pipeline.runs.config import Config
from pipeline.runs.documents.report import Summary
from pipeline.runs.engine import run_stage
from pipeline.runs.expected import expected
from pipeline.runs.outlook import Outlook, Teller
from pipeline.runs.plan import run_plan
from pipeline.runs.preflight import require_device, require_sources
from pipeline.runs.run import Run
from pipeline.runs.stages import STAGES
from pipeline.runs.stages.data import require_images
from pipeline.runs.summary import data_lines
from pipeline.runs.team import Team
from pipeline.runs.timed import schedule_lines, scheduled

_FIRST_TRAINED: Final = "train"
_BEGINS: Final = "Ctrl-C stops at any time, and the same command goes on; what training costs is told before it begins"


def run_all(
    config: Config,
    out: Path,
    teller: Teller,
    renew: bool = False,
    team: Team | None = None,
    began: float | None = None,
) -> tuple[Run, Summary]:
    """Bring the run at `out` up to date, from images to a checked file; `teller` hears how far it is.

    A new run where there is none, else the one that is there is continued. With `renew`, what was made from other
    inputs than are there now is made anew. A `team` shares what can be shared. `began`: when the command did, by
    `time.perf_counter`, for a run that is to end in time. Raises RunError as `create_or_open` and
    `run_stage` do, and what a stage raises; whatever had finished by then stays.
    """
    require_device(config)
    if not (out / "run.json").exists():
        require_images(config.data)  # images that cannot be used leave no folder behind
        require_sources(config)
    with create_or_open(out, config) as folder:
        run = Run(folder, team)
        if began is not None and not folder.stage_seconds():
            cpu = config.train.cpu_minutes is not None
            run.spent_before = time.process_time() if cpu else time.perf_counter() - began
        return run, all_stages(run, teller, renew)


def all_stages(run: Run, teller: Teller, renew: bool = False) -> Summary:
    """Every stage of an opened run in order; what has finished stays. The summary of what they found."""
    outlook = Outlook([stage.name for stage in STAGES], teller)
    if not run.folder.stage_seconds():
        teller.note(f"{len(STAGES)} stages: {', '.join(stage.name for stage in STAGES)}; {_BEGINS}")
    if run.folder.base is not None:
        outlook.expected = dict(run.folder.base.stage_seconds())
    for stage in STAGES:
        own = run.folder.home(stage.name) == run.path
        anew = run.folder.record(stage.name) is None
        outlook.begin(stage.name)
        if stage.name == _FIRST_TRAINED and own:
            outlook.expected = _plan(run, teller)
        done = run_stage(run, stage, outlook, renew=renew)
        if done.ran_now and anew:
            outlook.end()
        if stage.name == "data" and own and (lines := data_lines(run)):
            teller.note("\n".join(lines))
        if not done.ran_now:
            teller.note(
                f"{stage.name}: "
                + (f"had finished ({done.seconds:.1f} s)" if own else f"of {run.folder.home(stage.name)}")
            )
    return Summary.load(run.folder.summary)


def _plan(run: Run, teller: Teller) -> Mapping[str, float]:
    """Tell what training will cost and what it will not show, before any of it is spent; seconds by stage."""
    if run.folder.record(_FIRST_TRAINED) is not None:
        return expected(run).seconds if run.folder.expected.exists() else {}
    teller.note("measuring how long training steps take here")
    lines = schedule_lines(run, scheduled(run)) if run.config.train.limited else run_plan(run).lines()
    left_out = comparison_note(run)
    teller.note("\n".join((*lines, expected(run).line, *([] if left_out is None else [left_out]))))
    return expected(run).seconds
