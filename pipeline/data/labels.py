"""Label columns of any kind -> classes and whole numbers; what is no label is said to be none."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.data.errors import DataError, some
from pipeline.data.names import Split


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes in order, each split's numbers (None: no label), and remarks on what was declared but not used."""

    classes: tuple[str, ...]
    numbers: Mapping[Split, list[int | None]]
    remarks: tuple[str, ...] = ()


def read_labels(values: Mapping[Split, Sequence[Any]], names: Sequence[str] | None, column: str) -> Labels:
    """The classes that the training split has, and every picture's number among them.

    `names` are those that the column declares for 0, 1, …. A missing label, an empty text and NaN are no label, and
    so is -1 beside labels from 0 on. Raises DataError for values that are no classes, and for labels that a split
    has and training has not.
    """
    plain = {split: [_plain(value, column) for value in column_] for split, column_ in values.items()}
    if _minus_one_is_none(plain, names):
        plain = {split: [None if value == -1 else value for value in column_] for split, column_ in plain.items()}
    used = {value for value in plain["train"] if value is not None}
    if names is not None:
        for value in {value for column_ in plain.values() for value in column_ if value is not None}:
            if not (isinstance(value, int) and 0 <= value < len(names)):
                raise DataError(f"column {column!r} has label {value!r}, but declares {len(names)} names for 0 and on")
    if len({type(value) for value in used}) > 1:
        raise DataError(f"column {column!r} has numbers and texts as labels; accepted is one kind")
    order = sorted(used, key=_sort_key(used))
    classes = tuple(str(value) if names is None else str(names[int(value)]) for value in order)
    if twice := sorted({name for name in classes if classes.count(name) > 1}):
        raise DataError(f"column {column!r} declares the name {twice[0]!r} for two labels; names must differ")
    number = {value: index for index, value in enumerate(order)}
    for split, column_ in plain.items():
        if strange := sorted({str(value) for value in column_ if value is not None and value not in number}):
            known = f"training has {some(classes)}"
            raise DataError(f"the {split} split has label {some(strange)}, which no training image has; {known}")
    return Labels(
        classes,
        {split: [None if v is None else number[v] for v in column_] for split, column_ in plain.items()},
        _unused(names, classes),
    )


def _plain(value: Any, column: str) -> int | str | None:
    """A label as a whole number or a text, None where it is missing."""
    if value is None or value == "":
        return None
    if isinstance(value, (bool, int)):
        return int(value)
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if value.is_integer():
            return int(value)
        raise DataError(f"column {column!r} has the number {value:g}, which is no class; accepted are whole numbers")
    kinds = {"list": "lists", "dict": "records", "bytes": "bytes"}
    kind = kinds.get(type(value).__name__, f"values of type {type(value).__name__}")
    raise DataError(
        f"column {column!r} has {kind}, such as {str(value)[:60]}; accepted is one whole number or text for each"
        " image ([data] label_column names another column)"
    )


def _minus_one_is_none(plain: Mapping[Split, Sequence[int | str | None]], names: Sequence[str] | None) -> bool:
    """-1 says "no label" where classes are declared, and beside two or more others that are all from 0 on."""
    others = {value for column in plain.values() for value in column if isinstance(value, int)} - {-1}
    return names is not None or (len(others) > 1 and min(others) >= 0)


def _sort_key(used: set[int | str]) -> Any:
    """Numbers by their value, also those written as texts."""
    if all(isinstance(value, str) and value.isascii() and value.isdecimal() for value in used):
        return lambda value: (int(str(value)[:18]), value)
    return lambda value: value


def _unused(names: Sequence[str] | None, classes: Sequence[str]) -> tuple[str, ...]:
    unused = [str(name) for name in names or () if str(name) not in classes]
    return (f"{len(unused)} declared class(es) have no training image and are no class: {some(unused)}",) * bool(unused)
