"""`events.jsonl`: what happened in a run, one JSON line an event, appended as it happens."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from latency_tables.files import append_lines, read_bounded
from pipeline.runs.documents.base import RunError

_MOST_BYTES: Final = 256 << 20


class Event(BaseModel):
    """One line. `docs/tracking.md` lists the events and the further keys (`facts`) of each."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    schema_version: Literal[1] = 1
    time: AwareDatetime
    event: str
    stage: str

    @property
    def facts(self) -> Mapping[str, Any]:
        """The keys of its own."""
        return self.__pydantic_extra__ or {}


class Events:
    """The events of one run. Processes may append at the same time; what stands there is never changed."""

    def __init__(self, file: Path) -> None:
        """Nothing is read or written yet."""
        self._file = file

    def tell(self, event: str, stage: str, **facts: Any) -> None:
        """Append one event. Numbers that are not finite become null. Raises OSError."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        document = {"schema_version": 1, "time": now, "event": event, "stage": stage, **_finite(facts)}
        append_lines(self._file, json.dumps(document, ensure_ascii=True, allow_nan=False).encode() + b"\n")

    def read(self, since: int = 0) -> list[Event]:
        """Every event from number `since` of the file on, in order; none where there is no file.

        Lines that are no event (cut by a kill, of a newer version) are passed over and not counted. Raises RunError
        for a file that is no file of ours at all.
        """
        try:
            data = read_bounded(self._file, RunError, _MOST_BYTES)
        except FileNotFoundError:
            return []
        return [event for line in data.splitlines() if (event := _event(line)) is not None][since:]

    def current(self, stage: str) -> list[Event]:
        """The events of `stage` since it last began from nothing."""
        events = [event for event in self.read() if event.stage == stage]
        begun = [
            n for n, event in enumerate(events) if event.event == "stage_started" and not event.facts.get("continued")
        ]
        return events[begun[-1] :] if begun else events


def _event(line: bytes) -> Event | None:
    try:
        return Event.model_validate_json(line)
    except ValidationError:
        return None


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
