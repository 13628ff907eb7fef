"""The file that says what a model may cost: limits, levels, devices, models, and the change allowed to a baseline.

Limits mean what they mean in a search: they are read and judged by `pipeline.budget`.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from pipeline.budget import Budget, read_budget
from pipeline.gate.errors import GateError
from pipeline.gate.results import Level

METRICS: Final = ("latency_ms", "macs", "params", "size_mb", "accuracy")
HIGHER_IS_BETTER: Final = frozenset({"accuracy"})
DEFAULT_TOLERANCE: Final = {"latency_ms": 0.025, "size_mb": 0.01}
_RUN_KEYS: Final = ("seed", "data", "space", "device", "train", "split", "search", "finetune", "export")

Quantity = float | str
Share = Annotated[float, Field(ge=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Limits(_Model):
    latency_ms: Quantity | dict[str, Quantity] | None = Field(
        None, description="Milliseconds for one image, at most. One value, or one per device: {pixel6 = 25, host = 8}."
    )
    macs: Quantity | None = Field(None, description='Multiply-accumulates of one image, at most: 300e6 or "300M".')
    params: Quantity | None = Field(None, description='Parameters, at most: 6e6 or "6M".')
    size_mb: Quantity | None = Field(None, description="Size of the file in megabytes (1,000,000 bytes), at most.")
    accuracy: Quantity | None = Field(None, description="Share of test images classified right, at least: 0.9.")


class _Levels(_Model):
    latency_ms: Level = Field("error", description="What a violated latency limit or regression does.")
    macs: Level = Field("error", description="The same for MACs.")
    params: Level = Field("error", description="The same for parameters.")
    size_mb: Level = Field("error", description="The same for the file's size.")
    accuracy: Level = Field("error", description="The same for accuracy.")


class _Tolerance(_Model):
    latency_ms: Quantity | None = Field(None, description='Growth against the baseline that is allowed; "2.5%".')
    macs: Quantity | None = Field(None, description='The same for MACs; "0%".')
    params: Quantity | None = Field(None, description='The same for parameters; default "0%".')
    size_mb: Quantity | None = Field(None, description='The same for the file\'s size; default "1%".')
    accuracy: Quantity | None = Field(None, description='Loss against the baseline that is allowed; default "0%".')


class _Device(_Model):
    table: str | None = Field(None, description="Latency table (file beside the budget, or shipped) to predict with.")
    url: str | None = Field(None, description='Device to measure on: "host", "ssh://user@board", "adb://serial".')
    threads: Annotated[int, Field(ge=1, description="Threads that a network may use on a measured device.")] = 1
    min_recognised: Share = Field(
        0.98, description="Share of a model's MACs that must be recognised as blocks, or no prediction is made."
    )


class _ModelEntry(_Limits):
    path: str = Field(description="File, run folder or pattern such as exports/*.onnx, seen from the budget file.")
    name: str | None = Field(None, description="Name in results and baseline; default the path as it is written.")
    metrics: str | None = Field(None, description='JSON file with what the model file cannot tell: {"accuracy": 0.91}.')
    input_shapes: dict[str, list[int]] = Field(
        {}, description="Whole shapes of inputs that the file leaves open: {image = [1, 3, 224, 224]}."
    )
    ignore_operators: list[str] = Field(
        [], description="Operators whose MACs cannot be counted and that you take as free, by name."
    )


class BudgetDocument(_Limits):
    """The keys of a budget file."""

    schema_version: Literal[1] = Field(1, description="Version of this format.")
    levels: _Levels = Field(_Levels(), description="error stops a merge, warn only tells.")
    tolerance: _Tolerance = Field(_Tolerance(), description="Change against a baseline that is allowed, per metric.")
    devices: dict[str, _Device] = Field({}, description="How the latency on a named device is known.")
    models: list[_ModelEntry] = Field([], description="The models to check, each with limits of its own.")


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
    """What the budget says about the models that match `pattern` (an absolute path or glob)."""

    pattern: str
    name: str | None
    limits: Mapping[str, Any]
    metrics: Path | None
    input_shapes: Mapping[str, tuple[int, ...]]
    ignore_operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BudgetFile:
    """A budget file as read. `limits` is the document that `pipeline.budget.read_budget` takes."""

    where: str
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
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GateError(f"no budget file {str(path)!r}; one line is enough, such as latency_ms = 20") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GateError(f"{path} is not TOML: {error}") from None
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
    try:
        read = BudgetDocument.model_validate(document)
    except ValidationError as error:
        raise GateError(_explain(error, where)) from None
    limits: dict[str, Any] = {key: document[key] for key in METRICS if key in document}
    rules = tuple(
        _rule(entry, {key: raw[key] for key in METRICS if key in raw}, folder)
        for entry, raw in zip(read.models, document.get("models", []), strict=True)
    )
    tolerance = {
        metric: DEFAULT_TOLERANCE.get(metric, 0.0) if value is None else _share(value, metric, where)
        for metric, value in read.tolerance
    }
    named = {key for key, value in read.tolerance if value is not None}
    limited = {*limits, *(key for rule in rules for key in rule.limits)}
    if not limited and not named:
        raise GateError(f"{where} limits nothing; set one of {', '.join(METRICS)}, or a [tolerance] for a baseline")
    result = BudgetFile(
        where=where,
        limits=limits,
        levels=dict(read.levels),
        tolerance=tolerance,
        devices={name: _device(name, entry, where, folder) for name, entry in read.devices.items()},
        models=rules,
        compared=frozenset(limited | named),
        notes=notes,
    )
    for rule in (None, *rules):
        result.budget(rule)  # refuses bad values now, not when the model is met
    return result


def json_schema() -> dict[str, Any]:
    """The JSON schema of a budget file, for editors."""
    schema = BudgetDocument.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "pocketnas budget file"} | schema


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


def _rule(entry: _ModelEntry, limits: Mapping[str, Any], folder: Path) -> ModelRule:
    return ModelRule(
        pattern=str(folder / entry.path),
        name=entry.name,
        limits=limits,
        metrics=None if entry.metrics is None else folder / entry.metrics,
        input_shapes={name: tuple(shape) for name, shape in entry.input_shapes.items()},
        ignore_operators=tuple(entry.ignore_operators),
    )


def _device(name: str, entry: _Device, where: str, folder: Path) -> Device:
    if (entry.table is None) == (entry.url is None):
        raise GateError(f"{where}: [devices.{name}] needs either table (to predict) or url (to measure)")
    table = entry.table
    if table is not None and (folder / table).is_file():
        table = str(folder / table)
    return Device(name, table, entry.url, entry.threads, entry.min_recognised)


def _share(value: Quantity, metric: str, where: str) -> float:
    """0.05 for "5%" and for 0.05."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        share = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 10:
        raise GateError(f'{where}: tolerance {metric} = {value!r} is no share; accepted is "5%" or 0.05')
    return share


def _explain(error: ValidationError, where: str) -> str:
    # An unknown key first: what is missing is then probably misspelt.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    location = [f"#{part + 1}" if isinstance(part, int) else part for part in first["loc"]]
    if first["type"] != "extra_forbidden":
        # For a value of several possible kinds pydantic adds the kind that it tried: "macs.float".
        key = _dotted([part for part in location if part not in ("float", "str") and "[" not in part])
        if first["type"] == "missing":
            return f"{where}: {key} is missing"
        return f"{where}: {key} = {first['input']!r} is not accepted; {_expected(first)}"
    known = sorted(_known_keys(BudgetDocument, location[:-1]))
    close = difflib.get_close_matches(location[-1].lower(), known, n=1, cutoff=0.6)
    hint = f" did you mean {close[0]}?" if close else ""
    return f"{where}: unknown key {_dotted(location)}:{hint} (known here: {', '.join(known)})"


def _dotted(location: Sequence[str]) -> str:
    """A key as in "devices.phone.table", or "models #2 path" for one of several tables."""
    return ".".join(location).replace(".#", " #")


def _expected(error: ErrorDetails) -> str:
    """What pydantic expected, in TOML's words."""
    kinds = {"model_type": "a table", "dict_type": "a table", "list_type": "a list, such as [[models]]"}
    kinds |= {"float_type": 'a number or a text such as "300M"', "string_type": "a text"}
    wanted = kinds.get(error["type"], error["msg"].removeprefix("Input should be "))
    return f"accepted: {wanted}"


def _known_keys(model: type[BaseModel], location: list[str]) -> Iterator[str]:
    """The keys accepted at `location` inside `model`."""
    tables: dict[str, type[BaseModel]] = {
        "levels": _Levels, "tolerance": _Tolerance, "devices": _Device, "models": _ModelEntry,
    }  # fmt: skip
    yield from tables.get(location[0] if location else "", model).model_fields
