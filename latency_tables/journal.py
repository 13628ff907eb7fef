"""The journal of a measurement: one JSON line per fact, so that a stopped measurement continues where it was."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from latency_tables.errors import TableError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import Count, DeviceInfo

SENTINEL = "sentinel"


class Entry(BaseModel):
    """One line: a timed model of the plan, or the sentinel (see `Timing`); or `names` to measure again in a visit."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    kind: Literal["timing", "repeat"]
    visit: Count
    name: str = ""
    session_ms: list[Annotated[float, Field(gt=0, le=1e9)]] = []
    runs: Count = 0
    disturbed: Count = 0
    names: list[str] = []

    @model_validator(mode="after")
    def _timings_are_there(self) -> Self:
        if self.kind == "timing" and not self.session_ms:
            raise ValueError(f"the timing of {self.name!r} has no milliseconds")
        return self


class Header(BaseModel):
    """The first line: what is measured and on what; a journal of anything else is not continued."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    plan: str
    device: DeviceInfo


@dataclass
class Journal:
    """Entries already on disk, and a file that takes more of them."""

    header: Header
    entries: list[Entry]
    _stream: IO[str]

    def add(self, entry: Entry) -> None:
        """Append `entry` and hand it to the disk."""
        self._stream.write(entry.model_dump_json(exclude_defaults=True) + "\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.entries.append(entry)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def plan_hash(models: Iterable[NamedModel], settings: dict[str, float]) -> str:
    """Identifies a measurement: the models with their names, and the protocol's settings."""
    parts = [json.dumps(settings, sort_keys=True)]
    parts += sorted(f"{model.name}: {'; '.join(block.key for block in model.blocks)}" for model in models)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def open_journal(path: Path, header: Header) -> Journal:
    """The journal at `path`, continued or begun. An incomplete last line (a killed process) is dropped.

    It is this process's until it is closed. Raises TableError where the file is the journal of another measurement
    or of another device, or another process writes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        entries = _entries_so_far(path, header)
    except BlockingIOError:
        stream.close()
        raise TableError(f"another pocketnas measures into {path}; wait for it, or choose another --out") from None
    except BaseException:
        stream.close()
        raise
    if not path.stat().st_size:
        stream.write(header.model_dump_json() + "\n")
        stream.flush()
    return Journal(header, entries, stream)


def _entries_so_far(path: Path, header: Header) -> list[Entry]:
    if not path.stat().st_size:
        return []
    before, entries = read_journal(path)
    if _without_clock(before) != _without_clock(header):
        what = "another measurement" if before.plan != header.plan else f"device {before.device.name!r}"
        raise TableError(f"{path} is the journal of {what}; remove it to begin anew, or choose another --out")
    _drop_torn_line(path)
    return entries


def _without_clock(header: Header) -> Header:
    """Older journals do not tell it."""
    return header.model_copy(update={"device": header.device.model_copy(update={"clock": None})})


def read_journal(path: Path) -> tuple[Header, list[Entry]]:
    """Header and entries of the journal at `path`; an incomplete last line is ignored."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    complete = lines[:-1]  # what follows the last line break was being written
    try:
        return Header.model_validate_json(complete[0]), [Entry.model_validate_json(line) for line in complete[1:]]
    except (IndexError, ValidationError):
        raise TableError(f"{path} is not the journal of a measurement; remove it to begin anew") from None


def _drop_torn_line(path: Path) -> None:
    data = path.read_bytes()
    with path.open("r+b") as stream:
        stream.truncate(data.rfind(b"\n") + 1)
