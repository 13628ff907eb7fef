"""A run's folder: its configuration, and for each finished stage a record of what went in and came out."""

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from latency_tables.files import write_json
from pipeline.errors import PipelineError
from pipeline.runs.config import Config, config_hash, differing_key, parse_config

SCHEMA_VERSION = 1
STAGE_NAMES: Final = ("data", "profile", "train", "split", "search", "finetune", "export", "check", "report")


class RunError(PipelineError):
    """A run folder that cannot be used: foreign, torn, busy, or of another configuration."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run on disk. Paths of all stages' files are properties, so no name is spelled twice."""

    path: Path
    config: Config

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

    def record(self, stage: str) -> dict[str, Any] | None:
        """What is known of `stage`, None where it never began; RunError where the record is torn."""
        file = self.record_path(stage)
        if not file.exists():
            return None
        record = read_json(file)
        if missing := {"inputs", "finished", "seconds", "outputs"} - record.keys():
            raise RunError(f"{file} is torn or foreign (it lacks {', '.join(sorted(missing))}); delete it")
        return record

    def stage_seconds(self) -> list[tuple[str, float]]:
        """The finished stages in order, and how long each took."""
        records = [(name, self.record(name)) for name in STAGE_NAMES]
        return [(name, record["seconds"]) for name, record in records if record and record["finished"]]

    def write_record(self, stage: str, inputs: str, seconds: float | None = None, outputs: Sequence[Path] = ()) -> None:
        """Say that `stage` has begun on `inputs`, or with `seconds` that it has finished: the last thing it does."""
        files = sorted({file for output in outputs for file in _files(output)})
        write_json(
            self.record_path(stage),
            {
                "schema_version": SCHEMA_VERSION,
                "name": stage,
                "inputs": inputs,
                "finished": seconds is not None,
                "seconds": None if seconds is None else round(seconds, 3),
                "outputs": {str(file.relative_to(self.path)): file_hash(file) for file in files},
            },
        )

    def verify_outputs(self, stage: str, record: dict[str, Any]) -> None:
        """RunError where a file that `stage` wrote is gone or is no longer what it wrote."""
        for name, digest in record["outputs"].items():
            file = self.path / name
            if not file.is_file():
                raise RunError(f"{file}, written by stage {stage!r}, is gone; {_again(self.path, stage)}")
            if file_hash(file) != digest:
                raise RunError(f"{file} is torn or foreign: not what {stage!r} wrote; {_again(self.path, stage)}")

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
        key = differing_key(there.config.model_dump(mode="json"), config.model_dump(mode="json"))
        if key is not None:
            raise RunError(f"{path} holds a run with another configuration: {key}; choose another --out")
        return there
    return _write_run(path, config)


def _write_run(path: Path, config: Config) -> RunFolder:
    document = config.model_dump(mode="json")
    write_json(path / "run.json", {"schema_version": SCHEMA_VERSION, "config": document, "hash": config_hash(document)})
    return RunFolder(path, config)


def open_run(path: Path) -> RunFolder:
    """The run at `path`; RunError where there is none, or its run.json is torn or from another version."""
    file = path / "run.json"
    if not file.exists():
        raise RunError(f"{path} is no run: it has no run.json ('pocketnas run' makes one)")
    document = read_json(file)
    if document.get("schema_version") != SCHEMA_VERSION:
        raise RunError(f"{file} has schema_version {document.get('schema_version')!r}; this pocketnas reads 1")
    config = parse_config(document.get("config", {}), str(file))
    if config_hash(document["config"]) != document.get("hash"):
        raise RunError(f"{file} was edited after the run began; start a new run with the changed configuration")
    return RunFolder(path, config)


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
