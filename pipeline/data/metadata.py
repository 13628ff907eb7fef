"""Tables of labels beside pictures: metadata.csv, metadata.jsonl, metadata.parquet."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from latency_tables.files import read_bounded
from latency_tables.texts import decode_text, read_csv
from pipeline.data.errors import DataError, some
from pipeline.data.names import METADATA
from pipeline.data.tree import Found

FILE_COLUMN = "file_name"


@dataclass(frozen=True, slots=True)
class Metadata:
    """One table: its file, its columns, and its rows by column. File names are seen from its own folder."""

    entry: Found
    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]

    def place(self, row: dict[str, Any]) -> tuple[str, ...]:
        """The parts of the row's picture from the data's folder on; DataError where it leads out of it."""
        name = row[FILE_COLUMN]
        parts = [part for part in PurePosixPath(str(name).replace("\\", "/")).parts if part != "."]
        if not name or ".." in parts or str(name).startswith(("/", "\\")):
            raise DataError(f"{self.entry.path} names {name!r}; file names are seen from its folder, and stay in it")
        return (*self.entry.parts[:-1], *parts)


def is_metadata(entry: Found) -> bool:
    """Whether a file is such a table: in the data's folder, or in one right below it."""
    *folders, name = entry.name.rsplit("/", 2)
    return name in METADATA and len(folders) < 2 and entry.problem is None


def read_metadata(entry: Found) -> Metadata:
    """The table in a file; DataError naming the file and line where it is none."""
    suffix = entry.path.suffix
    try:
        rows = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}[suffix](entry)
    except OSError as error:
        raise DataError(f"{entry.path} cannot be read: {error.strerror}") from None
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    if FILE_COLUMN not in columns:
        raise DataError(f"{entry.path} has no column {FILE_COLUMN!r}; it has {some(columns) or 'no rows'}")
    if lacking := [number for number, row in enumerate(rows, 1) if not row.get(FILE_COLUMN)]:
        raise DataError(f"{entry.path}: entry {lacking[0]} names no file in {FILE_COLUMN!r}")
    return Metadata(entry, columns, tuple(rows))


def _csv(entry: Found) -> Sequence[dict[str, Any]]:
    return [record for _, record in read_csv(entry.path, DataError).records()]


def _json_lines(entry: Found) -> Sequence[dict[str, Any]]:
    rows = []
    for number, line in enumerate(
        decode_text(read_bounded(entry.path, DataError), str(entry.path), DataError).splitlines(), 1
    ):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{entry.path}, line {number}: {line[:60]!r} is no JSON object")
        rows.append(row)
    return rows


def _parquet(entry: Found) -> Sequence[dict[str, Any]]:
    from pyarrow.parquet import read_table

    from pipeline.data.parquet_images import reading

    with reading(entry.path):
        return list(read_table(entry.path).to_pylist())
