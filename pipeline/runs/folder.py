"""A run's folder: its configuration, and for each finished stage a record of what went in and came out."""

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from latency_tables.files import write_json
from pipeline.errors import PipelineError
from pipeline.runs.config import Config, config_hash, differing_key, parse_config
from pipeline.runs.record import Inputs, StageRecord

SCHEMA_VERSION = 1
STAGE_NAMES: Final = ("data", "profile", "train", "split", "search", "finetune", "export", "check", "report")


class RunError(PipelineError):
    """A run folder that cannot be used: foreign, torn, busy, or of another configuration."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run on disk. Paths of all stages' files are properties, so no name is spelled twice.

    `document` is the configuration as run.json has it: `config` without the defaults of keys that are newer than it.
    """

    path: Path
    config: Config
    document: dict[str, Any]

    @property
    def data(self) -> Path:
        return self.path / "data"

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
    def supernet(self) -> Path:
        return self.path / "supernet"

    @property
    def start(self) -> Path:
        return self.supernet / "start.json"

    @property
    def partition(self) -> Path:
        return self.path / "partition.json"

    @property
    def children(self) -> Path:
        return self.path / "children"

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
    def candidates(self) -> Path:
        return self.path / "candidates.json"

    @property
    def winner(self) -> Path:
        return self.path / "winner"

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

    def record_path(self, stage: str) -> Path:
        """Where the record of a finished stage is."""
        return self.path / "stages" / f"{stage}.json"

    def record(self, stage: str) -> StageRecord | None:
        """What is known of `stage`, None where it never began; RunError where the record is damaged."""
        file = self.record_path(stage)
        if not file.exists():
            return None
        try:
            return StageRecord.model_validate(read_json(file))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RunError(f"{file} is torn or foreign ({place}: {first['msg']}); delete it") from None

    def stage_seconds(self) -> list[tuple[str, float]]:
        """The finished stages in order, and how long each took."""
        records = [(name, self.record(name)) for name in STAGE_NAMES]
        return [(name, record.seconds or 0.0) for name, record in records if record and record.finished]

    def write_record(
        self, stage: str, inputs: Inputs | str, seconds: float | None = None, outputs: Sequence[Path] = ()
    ) -> None:
        """Say that `stage` has begun on `inputs`, or with `seconds` that it has finished: the last thing it does."""
        files = sorted({file for output in outputs for file in _files(output)})
        record = StageRecord(
            name=stage,
            inputs=inputs,
            finished=seconds is not None,
            seconds=None if seconds is None else round(seconds, 3),
            outputs={str(file.relative_to(self.path)): file_hash(file) for file in files},
        )
        write_json(self.record_path(stage), record.model_dump(mode="json"))

    def verify_outputs(self, record: StageRecord) -> None:
        """RunError where a file that a finished stage wrote is gone or is no longer what it wrote."""
        for name, digest in record.outputs.items():
            file = self.path / name
            if not file.is_file():
                raise RunError(f"{file}, written by stage {record.name!r}, is gone; {_again(self.path, record.name)}")
            if file_hash(file) != digest:
                raise RunError(
                    f"{file} is torn or foreign: not what {record.name!r} wrote; {_again(self.path, record.name)}"
                )

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; RunError where another one works in it."""
        with _locked(self.path):
            yield


@contextlib.contextmanager
def create_or_open(path: Path, config: Config) -> Iterator[RunFolder]:
    """The run at `path` with `config`, held for this process: a new one, or the one that is there if its
    configuration is the same.

    Raises RunError where another process works in the folder, where it holds something else, or a run with another
    configuration (naming the key).
    """
    _refuse_foreign(path)
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        yield _created_or_opened(path, config)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with (path / ".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another pocketnas is at work in {path}; wait for it or stop it") from None
        yield


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise RunError(f"--out {path} is a file, not a folder")
    ours = (path / "run.json").exists() or not path.exists()
    if not ours and any(not entry.name.startswith((".lock", ".run.json.")) for entry in path.iterdir()):
        raise RunError(f"--out {path} holds something that is no run; choose an empty or new folder")


def _created_or_opened(path: Path, config: Config) -> RunFolder:
    if (path / "run.json").exists():
        there = open_run(path)
        if not there.stage_seconds():
            # Nothing has been made yet: a mistake in the configuration may be mended.
            return _write_run(path, config)
        written = _written(path)
        new = config.model_dump(mode="json")
        asked = config.model_dump(mode="json", exclude_unset=True)
        old = there.config.model_dump(mode="json")
        # What neither file says is a default: the run keeps the one that it began with.
        key = differing_key(_only(old, (written, asked)), _only(new, (written, asked)))
        if key is not None:
            raise RunError(f"{path} holds a run with another configuration: {key}; choose another --out")
        return there
    return _write_run(path, config)


def _write_run(path: Path, config: Config) -> RunFolder:
    document = config.model_dump(mode="json")
    whole = {
        "schema_version": SCHEMA_VERSION,
        "config": document,
        "written": config.model_dump(mode="json", exclude_unset=True),
        "hash": config_hash(document),
    }
    write_json(path / "run.json", whole)
    return RunFolder(path, config, document)


def _written(path: Path) -> dict[str, Any]:
    """The keys that the run's author wrote; none is known of a run of 0.1."""
    written = read_json(path / "run.json").get("written", {})
    return written if isinstance(written, dict) else {}


def _only(values: dict[str, Any], written: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The keys of `values`, a level into tables, that stand in one of `written`."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        inside = [document[key] for document in written if key in document]
        if isinstance(value, dict):
            kept[key] = _only(value, [table for table in inside if isinstance(table, dict)])
        elif inside:
            kept[key] = value
    return kept


def open_run(path: Path) -> RunFolder:
    """The run at `path`; RunError where there is none, or its run.json is torn or from another version."""
    file = path / "run.json"
    if not file.exists():
        raise RunError(f"{path} is no run: it has no run.json ('pocketnas run' makes one)")
    document = read_json(file)
    if document.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{file} has schema_version {document.get('schema_version')!r}; this pocketnas reads 1")
    said = document.get("config", {})
    config = parse_config(said, str(file))
    if config_hash(said) != document.get("hash"):
        raise RunError(f"{file} was edited after the run began; start a new run with the changed configuration")
    return RunFolder(path, config, said)


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in `file`; RunError naming it where it is torn."""
    try:
        document = json.loads(file.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{file} is torn or foreign ({error})") from None
    if not isinstance(document, dict):
        raise RunError(f"{file} is torn or foreign (it holds no JSON object)")
    return document


def file_hash(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(output: Path) -> list[Path]:
    return sorted(f for f in output.rglob("*") if f.is_file()) if output.is_dir() else [output]


def _again(path: Path, stage: str) -> str:
    return f"'pocketnas stage {stage} {path} --again' makes it anew"
