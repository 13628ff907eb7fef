"""Baselines: what the models were when somebody last said "this is good", as a JSON file or a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latency_tables.files import write_json
from pipeline.gate.errors import GateError

Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PredictedLatency(_Model):
    """What a table said. Only a prediction by the same table may be compared with it."""

    ms: Figure
    table_sha256: str


class BaselineEntry(_Model):
    """One model. `path` (seen from the baseline file) and `sha256` find it again, to be measured beside the new one."""

    path: str
    sha256: str
    macs: Figure | None = None
    params: Figure | None = None
    size_mb: Figure | None = None
    accuracy: Figure | None = None
    predicted: dict[str, PredictedLatency] = {}

    def figures(self) -> dict[str, float]:
        """The metrics that are known, by name."""
        values = {name: getattr(self, name) for name in ("macs", "params", "size_mb", "accuracy")}
        return {name: value for name, value in values.items() if value is not None}


class _Baseline(_Model):
    schema_version: Literal[1] = 1
    created: str
    models: dict[str, BaselineEntry]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Entries by model name; `folder` is where their paths start."""

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
        read = _Baseline.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GateError(f"no baseline {str(path)!r}; --update-baseline writes it from the models checked now") from None
    except UnicodeDecodeError:
        raise GateError(f"{path} is no baseline file: it is no text") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise GateError(f"{path} is no baseline file: {'.'.join(map(str, first['loc']))} {first['msg']}") from None
    return Baseline(path.resolve().parent, read.models)


def write_baseline(path: Path, entries: Mapping[str, BaselineEntry]) -> None:
    """Write the baseline file; entries of models that are not among `entries` are kept."""
    kept = dict(read_baseline(path).entries) if path.exists() else {}
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = _Baseline(created=created, models=kept | dict(entries))
    write_json(path, document.model_dump(mode="json", exclude_none=True))
