"""Running stages: each once, in order, refusing inputs that changed, continuing after a kill."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.progress import Progress
from pipeline.runs.config import HOW_ONLY
from pipeline.runs.documents.base import RunError
from pipeline.runs.folder import RunFolder
from pipeline.runs.record import Inputs, StageRecord, StageTime
from pipeline.runs.run import Run

CHECKPOINT_SECONDS: Final = 10.0  # between two states of a training that a kill leaves behind
_NOTHING: Final = "being removed"  # inputs that no stage has


@dataclass(frozen=True, slots=True)
class RunStage:
    """One arrow of the flow. `work` may be killed at any moment and is then called again with what it left.

    `reads` are the configuration's tables, `after` the stages whose files it reads, `outputs` what it writes. A
    `summary` is written anew in seconds whenever what it tells of has changed; other outputs only when asked for.
    `outside` hashes what the stage reads that is not in the run, by what it is; `discard` removes what it left
    outside of the run's folder.
    """

    name: str
    reads: tuple[str, ...]
    after: tuple[str, ...]
    outputs: Callable[[RunFolder], Sequence[Path]]
    work: Callable[[Run, Progress], None]
    summary: bool = False
    outside: Callable[[RunFolder], dict[str, str]] = lambda folder: {}
    discard: Callable[[Run], None] = lambda run: None


def run_stage(run: Run, stage: RunStage, progress: Progress, again: bool = False, renew: bool = False) -> StageTime:
    """Bring one stage up to date: what has finished is not done again, unless `again`.

    `renew` does it again where its inputs have changed; without it nothing that has finished is ever removed. Raises
    RunError where inputs of a finished stage have changed, where one of its outputs is damaged, or where an earlier
    stage has not finished.
    """
    folder = run.folder
    record = folder.record(stage.name)
    if folder.home(stage.name) != folder.path:
        return _of_the_base(folder, stage, record, again)
    inputs = stage_inputs(folder, stage)
    changed = None if record is None else inputs.changed_from(record.inputs)
    if record is not None and record.finished and stage.summary and folder.lacks(record):
        changed = changed or "a file of its own is gone"
    if record is not None and record.finished and changed and not (again or renew or stage.summary):
        raise RunError(_changed(folder, stage.name, changed))
    if record is not None and (again or changed):
        _require_removable(stage.outputs(folder))
        # Made from other inputs, or to be made anew: nothing of it may be continued, also after a kill right now.
        folder.write_record(stage.name, _NOTHING)
        _remove(stage.outputs(folder))
        stage.discard(run)
        run.forget()
        record = None
    if record is not None and record.finished:
        folder.verify_outputs(record)
        return StageTime(stage.name, record.seconds or 0.0, ran_now=False)
    run.events.tell("stage_started", stage.name, continued=record is not None)
    folder.write_record(stage.name, inputs)
    started, cpu_started = time.perf_counter(), _cpu_seconds()
    try:
        stage.work(run, _watched(folder, progress))
    except BaseException as error:
        with contextlib.suppress(OSError):  # the folder may be gone, or the disk full: that is what is told
            run.events.tell("stage_stopped", stage.name, reason=_reason(error))
        raise
    folder.require_present()
    seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - cpu_started
    folder.write_record(stage.name, inputs, seconds, stage.outputs(folder), cpu_seconds)
    run.events.tell("stage_finished", stage.name, seconds=round(seconds, 3), cpu_seconds=round(cpu_seconds, 3))
    return StageTime(stage.name, seconds, ran_now=True)


def _of_the_base(folder: RunFolder, stage: RunStage, record: StageRecord | None, again: bool) -> StageTime:
    """A stage whose files the run takes from the one that it specialises: they are verified, never changed."""
    if again or record is None or not record.finished:
        home = folder.home(stage.name)
        raise RunError(
            f"stage {stage.name!r} of {folder.path} is that of {home}; 'pocketnas stage' makes it anew there"
        )
    folder.verify_outputs(record)
    return StageTime(stage.name, 0.0, ran_now=False)


def require_finished(run: RunFolder, stages: Sequence[RunStage], name: str) -> RunStage:
    """The stage called `name`, if all before it have finished with what the folder holds now.

    Raises RunError naming the first that has not or whose files are no longer what it wrote, and the command that
    runs it.
    """
    finished: dict[str, StageRecord] = {}
    for stage in stages:
        if stage.name == name:
            return stage
        record = run.record(stage.name)
        if record is None or not record.finished:
            command = f"'pocketnas stage {stage.name} {run.path}' runs it, 'pocketnas run' everything"
            raise RunError(f"stage {name!r} needs {stage.name!r}, which has not finished in {run.path}; {command}")
        shared = run.home(stage.name) != run.path
        if not shared and (changed := stage_inputs(run, stage, finished).changed_from(record.inputs)):
            raise RunError(_changed(run, stage.name, changed))
        run.verify_outputs(record)
        finished[stage.name] = record
    raise RunError(f"no stage is called {name!r}; known are {', '.join(stage.name for stage in stages)}")


def part_of(progress: Progress, number: int, parts: int, what: str) -> Progress:
    """The progress of part `number` (from 0) of `parts` equal ones, told as that of the whole."""

    def told(done: int, total: int, _: str) -> None:
        progress(number * total + done, parts * total, what)

    return told


def counted(progress: Progress, each: int, what: str) -> Progress:
    """The progress of steps of `each` images, told in images as that of `what`."""

    def told(done: int, total: int, _: str) -> None:
        progress(done * each, total * each, f"{what}: images")

    return told


def stage_inputs(run: RunFolder, stage: RunStage, known: Mapping[str, StageRecord] | None = None) -> Inputs:
    """What the stage depends on now: its tables as the run's file has them, the seed, files of earlier stages.

    `known` are records of stages that have just been read.
    """
    earlier = {}
    for name in stage.after:
        record = (known or {}).get(name) or run.record(name)
        if record is None or not record.finished:
            raise RunError(f"stage {stage.name!r} needs {name!r}, which has not finished in {run.path}")
        earlier[name] = record.outputs
    said = run.document
    tables = {
        name: {key: value for key, value in said[name].items() if key not in HOW_ONLY.get(name, ())}
        for name in stage.reads
        if name in said  # a table that is newer than the run is no input of it
    }
    return Inputs(seed=run.config.seed, tables=tables, after=earlier, outside=stage.outside(run))


def _reason(error: BaseException) -> str:
    return "interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__


def _cpu_seconds() -> float:
    """CPU time of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def _watched(run: RunFolder, progress: Progress) -> Progress:
    """`progress`, ending a stage whose folder somebody has removed before it writes half of it again."""

    def told(done: int, total: int, what: str) -> None:
        run.require_present()
        progress(done, total, what)

    return told


def _changed(run: RunFolder, name: str, changed: str) -> str:
    return (
        f"stage {name!r} in {run.path} was made from other inputs than are there now: {changed}; it is kept until"
        f" 'pocketnas stage {name} {run.path} --again' makes it anew ('pocketnas run … --again': all such stages)"
    )


def _require_removable(outputs: Sequence[Path]) -> None:
    """RunError before anything is touched where one of `outputs` could not be removed."""
    for output in outputs:
        if output.exists() and not os.access(output.parent, os.W_OK):
            raise RunError(f"{output} cannot be made anew: {output.parent} is not writable")


def _remove(outputs: Sequence[Path]) -> None:
    for output in outputs:
        if output.is_dir():
            shutil.rmtree(output)
        else:
            output.unlink(missing_ok=True)
