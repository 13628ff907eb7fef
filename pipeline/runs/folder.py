"""A run's folder: where each file is, the records of its stages, and how it is opened."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from latency_tables.files import sha256_of
from pipeline.runs.config import Config
from pipeline.runs.config_file import config_hash, parse_config
from pipeline.runs.documents.base import RunError
from pipeline.runs.documents.run import BaseRun, RunFile
from pipeline.runs.lock import held, sweep
from pipeline.runs.record import Inputs, StageRecord

SHARED_STAGES: Final = ("data", "train", "split")  # whose files a specialised run takes from its base
STAGE_NAMES: Final = ("data", "profile", "train", "split", "search", "finetune", "export", "check", "report")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run on disk. Paths of all stages' files are properties, so no name is spelled twice.

    `document` is the configuration as run.json has it: `config` without the defaults of keys that are newer than it.
    `base` is the run that this one specialises: images, supernet and children are its, and are only read.
    """

    path: Path
    config: Config
    document: dict[str, Any]
    base: "RunFolder | None" = None

    def home(self, stage: str) -> Path:
        """The folder that the files of `stage` are in."""
        return self.base.home(stage) if self.base is not None and stage in SHARED_STAGES else self.path

    @property
    def data(self) -> Path:
        return self.home("data") / "data"

    @property
    def table(self) -> Path:
        return self.path / "table.json"

    @property
    def other_tables(self) -> Path:
        return self.path / "tables"

    @property
    def budget(self) -> Path:
        return self.path / "budget.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def expected(self) -> Path:
        return self.path / "expected.json"

    @property
    def supernet(self) -> Path:
        return self.home("train") / "supernet"

    @property
    def schedule(self) -> Path:
        return self.supernet / "schedule.json"

    @property
    def start(self) -> Path:
        return self.supernet / "start.json"

    @property
    def curve(self) -> Path:
        return self.supernet / "curve.jsonl"

    @property
    def partition(self) -> Path:
        return self.home("split") / "partition.json"

    @property
    def children(self) -> Path:
        return self.home("split") / "children"

    @property
    def study(self) -> Path:
        return self.path / "study.journal"

    @property
    def judged(self) -> Path:
        return self.path / "judged.jsonl"

    @property
    def private(self) -> Path:
        return self.path / "private.jsonl"

    @property
    def relaxed(self) -> Path:
        return self.path / "relaxed"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    @property
    def candidates(self) -> Path:
        return self.path / "candidates.json"

    @property
    def winner(self) -> Path:
        return self.path / "winner"

    @property
    def winner_file(self) -> Path:
        return self.winner / "winner.json"

    @property
    def answers(self) -> Path:
        return self.winner / "answers.json"

    @property
    def card(self) -> Path:
        return self.winner / "README.md"

    @property
    def labels(self) -> Path:
        return self.winner / "labels.txt"

    @property
    def preprocessing(self) -> Path:
        return self.winner / "preprocessing.json"

    @property
    def exports(self) -> Path:
        return self.path / "exports"

    @property
    def latency(self) -> Path:
        return self.path / "latency.json"

    @property
    def check(self) -> Path:
        return self.path / "check.json"

    @property
    def junit(self) -> Path:
        return self.path / "junit.xml"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def told(self) -> list[Path]:
        """What stage `report` writes."""
        return [self.report, self.summary, self.card, self.labels, self.preprocessing]

    def record_path(self, stage: str) -> Path:
        """Where the record of a finished stage is."""
        return self.home(stage) / "stages" / f"{stage}.json"

    def record(self, stage: str) -> StageRecord | None:
        """What is known of `stage`, None where it never began; RunError where the record is damaged."""
        file = self.record_path(stage)
        return StageRecord.load(file) if file.exists() else None

    def stage_seconds(self, cpu: bool = False) -> list[tuple[str, float]]:
        """The stages that have finished in this folder, in order, and how long each took, or how much CPU time."""
        own = [name for name in STAGE_NAMES if self.home(name) == self.path]
        records = [(name, self.record(name)) for name in own]
        return [
            (name, (record.cpu_seconds if cpu else record.seconds) or 0.0)
            for name, record in records
            if record and record.finished
        ]

    def write_record(
        self,
        stage: str,
        inputs: Inputs | str,
        seconds: float | None = None,
        outputs: Sequence[Path] = (),
        cpu_seconds: float | None = None,
    ) -> None:
        """Say that `stage` has begun on `inputs`, or with `seconds` that it has finished: the last thing it does."""
        files = sorted({file for output in outputs for file in _files(output)})
        record = StageRecord(
            name=stage,
            inputs=inputs,
            finished=seconds is not None,
            seconds=None if seconds is None else round(seconds, 3),
            cpu_seconds=None if cpu_seconds is None else round(cpu_seconds, 3),
            outputs={str(file.relative_to(self.path)): sha256_of(file) for file in files},
        )
        record.save(self.record_path(stage))

    def lacks(self, record: StageRecord) -> bool:
        """Whether a file that a finished stage wrote is gone."""
        return not all((self.home(record.name) / name).is_file() for name in record.outputs)

    def verify_outputs(self, record: StageRecord) -> None:
        """RunError where a file that a finished stage wrote is gone or is no longer what it wrote."""
        home = self.home(record.name)
        for name, digest in record.outputs.items():
            file = home / name
            if not file.is_file():
                raise RunError(f"{file}, written by stage {record.name!r}, is gone; {_again(home, record.name)}")
            if sha256_of(file) != digest:
                raise RunError(
                    f"{file} is corrupt or foreign: not what {record.name!r} wrote; {_again(home, record.name)}"
                )

    def shared_records(self) -> str:
        """A hash of the records of what a specialised run uses; RunError where one of these stages has not finished."""
        records = [(name, self.record(name)) for name in SHARED_STAGES]
        for name, record in records:
            if record is None or not record.finished:
                raise RunError(
                    f"{self.path} cannot be specialised: its stage {name!r} has not finished; 'pocketnas run' goes on"
                )
        outputs = {name: record.outputs for name, record in records if record is not None}
        return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()

    def require_present(self) -> None:
        """RunError where the folder was removed while somebody works in it, before half of it comes back."""
        if not (self.path / "run.json").exists():
            raise RunError(f"{self.path} was removed or moved while this command worked in it; nothing more is written")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; RunError where another one works in it."""
        with held(self.path):
            sweep(self.path)
            yield


def open_run(path: Path) -> RunFolder:
    """The run at `path`; RunError where there is none, or its run.json is corrupt, edited or of another version."""
    file = path / "run.json"
    if not file.exists():
        raise RunError(f"{path} is no run: it has no run.json ('pocketnas run' makes one)")
    said = RunFile.load(file)
    config = parse_config(said.config, str(file))
    if config_hash(said.config) != said.hash:
        raise RunError(f"{file} was edited after the run began; start a new run with the changed configuration")
    return RunFolder(path, config, said.config, None if said.base is None else _open_base(said.base, path))


def _open_base(said: BaseRun, path: Path) -> RunFolder:
    """The run that the one at `path` specialises, as it was then; RunError where it is gone or was made anew."""
    if not (Path(said.path) / "run.json").exists():
        raise RunError(f"{path} uses the supernet of {said.path}, which is gone; move it back, or specialise anew")
    base = open_run(Path(said.path))
    if base.shared_records() != said.records:
        raise RunError(f"{path} uses the supernet of {said.path}, which was trained anew since; specialise it again")
    return base


def _again(path: Path, stage: str) -> str:
    return f"'pocketnas stage {stage} {path} --again' makes it anew"


def _files(output: Path) -> list[Path]:
    return sorted(f for f in output.rglob("*") if f.is_file()) if output.is_dir() else [output]
