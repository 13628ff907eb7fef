"""Which images belong together: by a column, or by a pattern on the file name."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from pipeline.data.errors import DataError
from pipeline.data.names import printable


def column_groups(values: Sequence[Any], column: str) -> list[str]:
    """The group of every row by a column; DataError where a row has none."""
    for row, value in enumerate(values):
        if value is None or value == "" or value != value:
            raise DataError(f"[data] group: row {row} has no value in column {column!r}; every image needs one")
    return [str(value) for value in values]


def pattern_groups(names: Sequence[str], group: str) -> list[str]:
    """What the pattern's first group (or all of it) matches in every file name; DataError where that is nothing."""
    try:
        pattern = re.compile(group)
    except (re.error, OverflowError, RecursionError) as error:
        raise DataError(f"[data] group {group!r} is neither a column nor a pattern: {error}") from None
    found = []
    for name in names:
        file = PurePath(name).name
        match = pattern.search(file)
        if match is None:
            raise DataError(f"[data] group {group!r} does not match the file name {printable(file)!r}")
        member = match[1] if pattern.groups else match[0]
        if not member:
            raise DataError(
                f"[data] group {group!r} matches nothing in the file name {printable(file)!r}, so it names no group;"
                " every name must give one"
            )
        found.append(member)
    return found
