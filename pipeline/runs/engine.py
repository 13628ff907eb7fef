"""Running stages: each once, in order, refusing inputs that changed, continuing after a kill."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.runs.folder import RunError, RunFolder

Progress = Callable[[int, int, str], None]
_NO_INPUTS: Final = frozenset({"workers", "storage"})  # how a stage is worked on, not what it is made from


@dataclass(frozen=True, slots=True)
class Stage:
    """One arrow of the flow. `work` may be killed at any moment and is then called again with what it left.

    `reads` are the configuration's tables, `after` the stages whose files it reads, `outputs` what it writes.
    """

    name: str
    reads: tuple[str, ...]
    after: tuple[str, ...]
    outputs: Callable[[RunFolder], Sequence[Path]]
    work: Callable[[RunFolder, Progress], None]


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long a stage took when it ran, in seconds, and whether that was now."""

    name: str
    seconds: float
    ran_now: bool


def run_stage(run: RunFolder, stage: Stage, progress: Progress, again: bool = False) -> StageTime:
    """Bring one stage up to date: what has finished with the same inputs is not done again, unless `again`.

    Raises RunError where an output of the finished stage is torn, or an earlier stage has not finished.
    """
    inputs = inputs_hash(run, stage)
    record = run.record(stage.name)
    if record is not None and (again or record["inputs"] != inputs):
        # Made from other inputs, or to be made anew: nothing of it may be continued.
        _remove(stage.outputs(run))
        record = None
    if record is not None and record["finished"]:
        run.verify_outputs(stage.name, record)
        return StageTime(stage.name, record["seconds"], ran_now=False)
    run.write_record(stage.name, inputs)
    started = time.perf_counter()
    stage.work(run, progress)
    seconds = time.perf_counter() - started
    run.write_record(stage.name, inputs, seconds, stage.outputs(run))
    return StageTime(stage.name, seconds, ran_now=True)


def require_finished(run: RunFolder, stages: Sequence[Stage], name: str) -> Stage:
    """The stage called `name`, if all before it have finished with what the folder holds now.

    Raises RunError naming the first that has not, and the command that runs it.
    """
    for stage in stages:
        if stage.name == name:
            return stage
        record = run.record(stage.name)
        command = f"'pocketnas stage {stage.name} {run.path}' runs it, 'pocketnas run' everything"
        if record is None or not record["finished"]:
            raise RunError(f"stage {name!r} needs {stage.name!r}, which has not finished in {run.path}; {command}")
        if record["inputs"] != inputs_hash(run, stage):
            raise RunError(
                f"stage {stage.name!r} in {run.path} was made from other inputs than are there now; {command}"
            )
    raise RunError(f"no stage is called {name!r}; known are {', '.join(stage.name for stage in stages)}")


def part_of(progress: Progress, number: int, parts: int, what: str) -> Progress:
    """The progress of part `number` (from 0) of `parts` equal ones, told as that of the whole."""

    def told(done: int, total: int, _: str) -> None:
        progress(number * total + done, parts * total, what)

    return told


def inputs_hash(run: RunFolder, stage: Stage) -> str:
    """What the stage depends on: its tables of the configuration, the seed, and the files of earlier stages."""
    tables = run.config.model_dump(mode="json")
    earlier = {}
    for name in stage.after:
        record = run.record(name)
        if record is None or not record["finished"]:
            raise RunError(f"stage {stage.name!r} needs {name!r}, which has not finished in {run.path}")
        earlier[name] = record["outputs"]
    read = {name: {k: v for k, v in tables[name].items() if k not in _NO_INPUTS} for name in stage.reads}
    document = {"seed": tables["seed"], "tables": read, "after": earlier}
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _remove(outputs: Sequence[Path]) -> None:
    for output in outputs:
        if output.is_dir():
            shutil.rmtree(output)
        else:
            output.unlink(missing_ok=True)
