"""Baseline files: what the models were when somebody last said "this is good"."""

import fcntl
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from latency_tables.documents import read_model
from latency_tables.files import write_json
from pipeline.gate.errors import GateError
from pipeline.gate.metrics import METRICS

Number = Annotated[float, Field(ge=0, le=1e18)]  # what is derived from it must stay a number


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PredictedLatency(_Model):
    """What a table said. Only a prediction by the same table may be compared with it."""

    ms: Number
    table_sha256: str


class BaselineEntry(_Model):
    """One model. `path` (seen from the baseline file) and `sha256` find it again, to be measured beside the new one."""

    path: str
    sha256: str
    macs: Number | None = None
    params: Number | None = None
    size_mb: Number | None = None
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    predicted: dict[str, PredictedLatency] = {}

    def figures(self) -> dict[str, float]:
        """The metrics that are known, by name."""
        values = {name: getattr(self, name, None) for name in METRICS}
        return {name: value for name, value in values.items() if value is not None}


class _Baseline(_Model):
    schema_version: Literal[1] = 1
    created: str
    models: dict[str, BaselineEntry]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Entries by model name, which is its path from the budget file; `folder` is where the entries' paths start."""

    folder: Path
    entries: Mapping[str, BaselineEntry] = field(default_factory=dict)

    def model_file(self, name: str) -> Path | None:
        """The old model's file, if it is still there and still what it was."""
        from pipeline.modelfiles.read import sha256_of

        entry = self.entries.get(name)
        if entry is None:
            return None
        path = self.folder / entry.path
        return path if path.exists() and sha256_of(path) == entry.sha256 else None


def read_baseline(path: Path) -> Baseline:
    """The baseline file at `path`; GateError where there is none or it is something else."""
    try:
        read = read_model(path, _Baseline, GateError)
    except FileNotFoundError:
        raise GateError(f"no baseline {str(path)!r}; --update-baseline writes it from the models checked now") from None
    except GateError as error:
        raise GateError(f"{path} is no baseline file: {str(error).removeprefix(f'{path}: ')}") from None
    return Baseline(path.resolve().parent, read.models)


def write_baseline(path: Path, entries: Mapping[str, BaselineEntry]) -> None:
    """Write the baseline file; entries of models that are not among `entries` are kept.

    One at a time: who comes second waits, and keeps what the first wrote.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The folder itself is what is locked: a lock beside the file would be one more file to commit or ignore.
    with _Locked(path.parent):
        kept = dict(read_baseline(path).entries) if path.exists() else {}
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        document = _Baseline(created=created, models=kept | dict(entries))
        write_json(path, document.model_dump(mode="json", exclude_none=True))


class _Locked:
    """Holds a folder's lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        self._handle = os.open(self._folder, os.O_RDONLY)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)
