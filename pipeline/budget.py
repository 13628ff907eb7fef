"""What a network may cost: the limits of a run, and the one meaning that search and check give them."""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import PipelineError

Number = TypeVar("Number", float, NDArray[np.float64])

_UNITS: Final = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
_NUMBER: Final = re.compile(r"([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([kMGB]?)", re.IGNORECASE)
_FORM: Final = 'accepted are latency_ms = 20 (or one value per device), macs = "300M", params = "6M", size_mb = 12'


class BudgetError(PipelineError):
    """A budget that cannot be read; the message names the key, the value and what is accepted."""


def violation(value: Number, limit: float) -> Number:
    """By how much `value` exceeds `limit`, relative to the limit: at most 0 is inside, 0.1 is 10 % too much.

    This is the only definition of "fits": search filters with it and check judges with it.
    """
    return (value - limit) / limit


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound. `name` is the cost with its unit, and the device where a budget names several."""

    name: str
    limit: float
    at_least: bool = False

    def violation(self, value: float) -> float:
        """Relative violation of this bound, at most 0 where `value` is inside; NaN counts as infinitely bad."""
        if math.isnan(value):
            return math.inf
        return -violation(value, self.limit) if self.at_least else violation(value, self.limit)


@dataclass(frozen=True, slots=True)
class Budget:
    """The bounds of a run; None is no bound. `latency_ms` is one value, or one per named device."""

    latency_ms: float | Mapping[str, float] | None = None
    macs: float | None = None
    params: float | None = None
    size_mb: float | None = None
    accuracy: float | None = None

    def limits(self) -> tuple[Limit, ...]:
        """Every bound that is set. Latency bounds per device are called `latency_ms.<device>`."""
        latency = self.latency_ms
        found: list[Limit] = []
        if isinstance(latency, Mapping):
            found += [Limit(f"latency_ms.{device}", limit) for device, limit in latency.items()]
        elif latency is not None:
            found.append(Limit("latency_ms", latency))
        for name in ("macs", "params", "size_mb"):
            if (value := getattr(self, name)) is not None:
                found.append(Limit(name, value))
        if self.accuracy is not None:
            found.append(Limit("accuracy", self.accuracy, at_least=True))
        return tuple(found)

    def latency_limits(self, device: str) -> dict[str, float]:
        """Latency bound in ms per device name; a single value belongs to `device`."""
        if self.latency_ms is None:
            return {}
        return dict(self.latency_ms) if isinstance(self.latency_ms, Mapping) else {device: self.latency_ms}

    def to_document(self) -> dict[str, Any]:
        """What `read_budget` reads back to an equal budget."""
        values = {name: getattr(self, name) for name in _Budget.model_fields}
        return {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
            if value is not None
        }


class _Budget(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    latency_ms: float | str | dict[str, float | str] | None = None
    macs: float | str | None = None
    params: float | str | None = None
    size_mb: float | str | None = None
    accuracy: float | str | None = None


def read_budget(document: Mapping[str, Any], where: str = "[budget]") -> Budget:
    """The budget in a parsed TOML table; `where` names it in errors.

    Raises BudgetError for an unknown key (with the key that was probably meant), a value that is no
    positive number, or an accuracy that is not a share of 1.
    """
    for key in document:
        if key not in _Budget.model_fields:
            close = difflib.get_close_matches(key, _Budget.model_fields, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise BudgetError(f"{where}: unknown key {key!r}; {hint}known are {', '.join(_Budget.model_fields)}")
    try:
        read = _Budget.model_validate(dict(document))
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise BudgetError(f"{where}: {key} = {document[key]!r} is not a limit; {_FORM}") from None
    latency = read.latency_ms
    if isinstance(latency, dict) and not latency:
        raise BudgetError(f"{where}: latency_ms names no device; {_FORM}")
    budget = Budget(
        latency_ms=(
            {device: _number(value, f"latency_ms.{device}", where) for device, value in latency.items()}
            if isinstance(latency, dict)
            else _optional(latency, "latency_ms", where)
        ),
        macs=_optional(read.macs, "macs", where),
        params=_optional(read.params, "params", where),
        size_mb=_optional(read.size_mb, "size_mb", where),
        accuracy=_optional(read.accuracy, "accuracy", where),
    )
    if budget.accuracy is not None and budget.accuracy > 1:
        raise BudgetError(f"{where}: accuracy = {document['accuracy']!r} is above 1; write 90 % as 0.9")
    return budget


def _optional(value: float | str | None, key: str, where: str) -> float | None:
    return None if value is None else _number(value, key, where)


def _number(value: float | str, key: str, where: str) -> float:
    """The positive number that `value` is or spells: 300_000_000, "300M", "5.5 M"."""
    number = math.nan
    if not isinstance(value, str):
        number = float(value)
    elif match := _NUMBER.fullmatch(value.strip().replace("_", "")):
        unit = match[2] if match[2] == "k" else match[2].upper()
        number = float(match[1]) * _UNITS.get(unit, _UNITS["k"])
    if not (math.isfinite(number) and number > 0):
        raise BudgetError(f"{where}: {key} = {value!r} is not a positive number; {_FORM}")
    return number
