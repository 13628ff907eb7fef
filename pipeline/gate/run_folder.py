"""A run's folder as the gate sees it: the winner's file is judged by everything, its other files by size and accuracy.

Read as files, not through the run's own code: the gate also runs where nothing of a search is installed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, Field

from latency_tables import documents
from pipeline.gate.budget_file import Device
from pipeline.gate.errors import GateError
from pipeline.gate.metrics import METRICS
from pipeline.modelfiles.read import READERS, ModelFacts, ReadOptions, read_model, sha256_of, size_of

Accuracy = Annotated[float, Field(ge=0, le=1)]


class _Winner(BaseModel):
    accuracy: Accuracy


class _Parity(BaseModel):
    status: str
    reason: str
    accuracy_after: Accuracy | None


class _Export(BaseModel):
    format: str
    precision: str
    path: str | None
    sha256: str = ""
    parity: _Parity
    tool_versions: dict[str, str]


class _Exports(BaseModel):
    exports: list[_Export]


class _TableDevice(BaseModel):
    name: str
    precision: str = "fp32"


class _Table(BaseModel):
    device: _TableDevice


Document = TypeVar("Document", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class RunModel:
    """One file of a run, the metrics it is judged by, and the devices whose latency the run knows, its own first."""

    facts: ModelFacts
    judged_by: frozenset[str]
    devices: tuple[Device, ...] = ()


def is_run(path: Path) -> bool:
    """Whether `path` is the folder of a run."""
    return (path / "run.json").is_file()


def read_run(path: Path, options: ReadOptions) -> Iterator[RunModel]:
    """The files that the run exported, the ONNX file that it deploys first. GateError where it is not that far."""
    winner = _read(_Winner, path / "winner" / "winner.json", "finetune", path)
    written = _read(_Exports, path / "exports" / "export.json", "export", path).exports
    table = path / "table.json"
    precision = _read(_Table, table, "profile", path).device.precision if table.is_file() else "fp32"
    target = "onnx" if precision == "fp32" else f"onnx-{precision}"
    main = next((entry for entry in written if (entry.format, entry.precision) == (target, precision)), None)
    if main is None or main.path is None:
        raise GateError(f"{path} has no {precision} ONNX file; 'pocketnas export {path} --to {target}' writes it")
    for entry in (main, *(entry for entry in written if entry is not main)):
        if entry.path is None:
            continue
        facts = _facts(_export(path, entry.path), entry, options)
        if entry is main:
            yield RunModel(replace(facts, accuracy=winner.accuracy), frozenset(METRICS), _devices(path))
        else:
            known = {"size_mb"} if facts.accuracy is None else {"size_mb", "accuracy"}
            yield RunModel(facts, frozenset(known))


def made_with(file: Path) -> dict[str, str]:
    """The versions of the tools that a file was exported with, where the export's record still lies beside it."""
    record = file.with_name("export.json")
    if not record.is_file() or not file.is_file():
        return {}
    try:
        written = documents.read_model(record, _Exports, GateError).exports
    except GateError:  # another tool's file of that name
        return {}
    entry = next((entry for entry in written if entry.path == file.name), None)
    return entry.tool_versions if entry is not None and entry.sha256 == sha256_of(file) else {}


def _export(run: Path, name: str) -> Path:
    """An exported file by the name that the run's record gives it."""
    if Path(name).name != name:
        raise GateError(f"{run}: export.json names {name!r}; accepted is the name of a file beside it")
    return run / "exports" / name


def _facts(file: Path, entry: _Export, options: ReadOptions) -> ModelFacts:
    if not file.exists():
        raise GateError(f"{file} is gone; the run's export.json lists it")
    readable = file.suffix in READERS
    facts = read_model(file, options) if readable else ModelFacts(file, entry.format, size_of(file))
    parity, notes = entry.parity, facts.notes
    if parity.status != "passed":
        notes = (*notes, f"parity {parity.status}: {parity.reason}")
    return replace(facts, accuracy=parity.accuracy_after, runtime_versions=entry.tool_versions, notes=notes)


def _devices(path: Path) -> tuple[Device, ...]:
    table = path / "table.json"
    if not table.is_file():
        return ()
    name = _read(_Table, table, "profile", path).device.name
    others = sorted((path / "tables").glob("*.json"))
    return (Device(name, table=str(table)), *(Device(other.stem, table=str(other)) for other in others))


def _read(kind: type[Document], file: Path, stage: str, run: Path) -> Document:
    """What the gate needs of a file that a stage of the run wrote."""
    try:
        return documents.read_model(file, kind, GateError)
    except FileNotFoundError:
        raise GateError(f"{run} is not finished: 'pocketnas {stage} {run}' writes {file.name}") from None
