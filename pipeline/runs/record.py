"""What a stage leaves last: that it has finished, from what, and the hash of every file that it wrote."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline.runs.documents.base import Document


class Inputs(BaseModel):
    """What a stage was made from: the seed, tables of the run's configuration, and the files of earlier stages.

    `tables` holds what the run's own file says, never a default of the program that reads it later; `after` maps
    each earlier stage to its files and their SHA-256. `outside` are hashes of what lies outside the run, by what it
    is; what is no longer there is left out, since the stage has its own copy. What another version names beside
    these is passed over, as in every document of a run.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    seed: int
    tables: dict[str, dict[str, Any]]
    after: dict[str, dict[str, str]]
    outside: dict[str, str] = {}

    def digest(self) -> str:
        """SHA-256 of all of it, in hexadecimal; the form in which records of 0.1 kept it."""
        return hashlib.sha256(json.dumps(self.model_dump(exclude={"outside"}), sort_keys=True).encode()).hexdigest()

    def changed_from(self, recorded: "Inputs | str") -> str | None:
        """What is not as it was `recorded`, in words; None where nothing is. What no record names cannot differ."""
        if isinstance(recorded, str):
            same = recorded == self.digest()
            return None if same else "something (its record is of an older version and does not tell what)"
        if recorded.seed != self.seed:
            return f"seed (was {recorded.seed}, is {self.seed})"
        for name, table in recorded.tables.items():
            if key := _differing(table, self.tables.get(name, {})):
                return f"[{name}] {key}"
        for stage, files in recorded.after.items():
            if file := _differing(files, self.after.get(stage, {}), tell_values=False):
                return f"{file}, written by stage {stage!r}"
        for name, digest in recorded.outside.items():
            if self.outside.get(name, digest) != digest:
                return f"{name} (files were added, changed or taken away)"
        return None


class StageRecord(Document):
    """The record of one stage. `seconds`, `cpu_seconds` (of this process and those that it waited for) and `outputs`
    (SHA-256 by path inside the run) belong to a finished one."""

    name: str
    inputs: Inputs | str
    finished: bool
    seconds: float | None
    cpu_seconds: float | None = None
    outputs: dict[str, str]


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long a stage took when it ran, in seconds, and whether that was now."""

    name: str
    seconds: float
    ran_now: bool


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], tell_values: bool = True) -> str | None:
    for key, value in before.items():
        if key not in now or now[key] != value:
            return f"{key} (was {value!r}, is {now.get(key)!r})" if tell_values else key
    return None
