"""The file that says what a model may cost: limits, levels, devices, models, and the change allowed to a baseline.

Limits mean what they mean in a search: they are read and judged by `pipeline.budget`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from latency_tables.devices.address import require_plain
from latency_tables.documents import read_toml, validated
from pipeline.budget import Budget, read_budget
from pipeline.gate.budget_document import BudgetDocument, DeviceEntry, ModelEntry, Quantity
from pipeline.gate.errors import GateError
from pipeline.gate.metrics import METRICS
from pipeline.gate.results import Level

_RUN_KEYS: Final = ("seed", "data", "space", "device", "train", "split", "search", "finetune", "export")


@dataclass(frozen=True, slots=True)
class Device:
    """How the latency on the device called `name` is known: by a table, or by measuring at a URL."""

    name: str
    table: str | None = None
    url: str | None = None
    threads: int = 1
    min_recognised: float = 0.98


@dataclass(frozen=True, slots=True)
class ModelRule:
    """What the budget says about the models that `pattern` names: a path or a glob, seen from the budget's folder.

    `number` is its place among [[models]], from 1.
    """

    number: int
    pattern: str
    name: str | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    metrics: Path | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ignore_operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetFile:
    """A budget file as read. `limits` is the document that `pipeline.budget.read_budget` takes."""

    where: str
    folder: Path
    limits: Mapping[str, Any]
    levels: Mapping[str, Level]
    tolerance: Mapping[str, float]
    devices: Mapping[str, Device]
    models: tuple[ModelRule, ...]
    compared: frozenset[str]
    notes: tuple[str, ...] = ()

    def budget(self, rule: ModelRule | None) -> Budget:
        """The limits of a model: the file's, replaced key by key by those of its own entry."""
        own = {} if rule is None else rule.limits
        return read_budget({**self.limits, **own}, self.where)


def load_budget(path: Path) -> BudgetFile:
    """The budget file at `path`. GateError names a wrong key and the one probably meant, or a wrong value.

    The config of a run is a budget file too: its `[budget]` table is read and its other tables are not. A quantile
    of latency in it limits nothing here, which the notes tell: only a run makes it a limit in milliseconds.
    """
    try:
        document = read_toml(path, GateError)
    except FileNotFoundError:
        raise GateError(f"no budget file {str(path)!r}; one line is enough, such as latency_ms = 20") from None
    return parse_budget(document, str(path), path.resolve().parent)


def parse_budget(document: Mapping[str, Any], where: str, folder: Path) -> BudgetFile:
    """The budget in a parsed document; relative paths in it start at `folder`."""
    of_a_run, document = "budget" in document, _own_tables(document, where)
    notes: tuple[str, ...] = ()
    if of_a_run and (quantile := document.pop("latency_quantile", None)) is not None:
        notes = (
            f"{where}: latency_quantile = {quantile!r} is no limit here; a run makes it one in milliseconds and keeps"
            " it in its budget.json",
        )
    read = validated(document, BudgetDocument, where, GateError)
    limits: dict[str, Any] = {key: document[key] for key in METRICS if key in document}
    rules = tuple(
        _rule(number, entry, {key: raw[key] for key in METRICS if key in raw}, folder)
        for number, (entry, raw) in enumerate(zip(read.models, document.get("models", []), strict=True), 1)
    )
    asked = {key: value for key, value in read.tolerance if value is not None}
    tolerance = {
        name: _share(asked[name], name, where) if name in asked else metric.tolerance
        for name, metric in METRICS.items()
    }
    limited = {*limits, *(key for rule in rules for key in rule.limits)}
    if not limited and not asked:
        raise GateError(f"{where} limits nothing; set one of {', '.join(METRICS)}, or a [tolerance] for a baseline")
    result = BudgetFile(
        where=where,
        folder=folder,
        limits=limits,
        levels=dict(read.levels),
        tolerance=tolerance,
        devices={name: _device(name, entry, where, folder) for name, entry in read.devices.items()},
        models=rules,
        compared=frozenset(limited | asked.keys()),
        notes=notes,
    )
    for rule in (None, *rules):
        budget = result.budget(rule)  # refuses bad values now, not when the model is met
        for name in budget.latency_ms if isinstance(budget.latency_ms, Mapping) else ():
            if "://" in name:
                require_plain(name, f"{where}: latency_ms", GateError)
    return result


def _own_tables(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    if "budget" not in document:
        return dict(document)
    budget = document["budget"]
    if not isinstance(budget, dict):
        raise GateError(f"{where}: [budget] is {budget!r}; accepted is a table of limits")
    kept = {key: value for key, value in document.items() if key not in (*_RUN_KEYS, "budget")}
    budget = _with_further_devices(document, budget, kept)
    twice = sorted(set(kept) & set(budget))
    if twice:
        raise GateError(f"{where}: {twice[0]} stands both in [budget] and outside of it")
    return {**kept, **budget}


def _with_further_devices(
    document: Mapping[str, Any], budget: Mapping[str, Any], kept: dict[str, Any]
) -> Mapping[str, Any]:
    """The budget of a run whose [devices] carry their limits, which become limits by name; `kept` gets the devices."""
    devices = document.get("devices")
    entries = devices if isinstance(devices, dict) else {}
    limits = {name: e["latency_ms"] for name, e in entries.items() if isinstance(e, dict) and "latency_ms" in e}
    if not limits:
        return budget
    kept["devices"] = {
        name: {key: value for key, value in entry.items() if key != "latency_ms"} if name in limits else entry
        for name, entry in entries.items()
    }
    own, device = budget.get("latency_ms"), document.get("device", {})
    if own is not None and not isinstance(own, dict):
        table = device.get("table")
        name = device.get("name", "host") if table is None else Path(table).stem
        kept["devices"][name] = {"url": name} if table is None else {"table": table}
        limits = {name: own, **limits}
    return {**budget, "latency_ms": limits}


def _rule(number: int, entry: ModelEntry, limits: Mapping[str, Any], folder: Path) -> ModelRule:
    return ModelRule(
        number=number,
        pattern=entry.path,
        name=entry.name,
        limits=limits,
        metrics=None if entry.metrics is None else folder / entry.metrics,
        input_shapes={name: tuple(shape) for name, shape in entry.input_shapes.items()},
        ignore_operators=tuple(entry.ignore_operators),
    )


def _device(name: str, entry: DeviceEntry, where: str, folder: Path) -> Device:
    if (entry.table is None) == (entry.url is None):
        raise GateError(f"{where}: [devices.{name}] needs either table (to predict) or url (to measure)")
    if entry.url is not None:
        require_plain(entry.url, f"{where}: [devices.{name}] url", GateError)
    table = entry.table
    if table is not None and (folder / table).is_file():
        table = str(folder / table)
    return Device(name, table, entry.url, entry.threads, entry.min_recognised)


def _share(value: Quantity, metric: str, where: str) -> float:
    """0.05 for "5%" and for 0.05. More than the whole is only taken with its percent sign: 5 is meant as 5 %."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        share = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(value)
    except ValueError:
        share = -1.0
    most = 10 if text.endswith("%") else 1
    if not math.isfinite(share) or not 0 <= share <= most:
        raise GateError(
            f'{where}: tolerance {metric} = {value!r} is no share; accepted is "5%" or 0.05 (for more than 1: "300%")'
        )
    return share
