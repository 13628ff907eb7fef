"""Pictures in a folder whose labels a table of metadata gives."""

from collections.abc import Sequence
from typing import Any

from pipeline.data.errors import DataError, some
from pipeline.data.items import Content, LeftOut, Source
from pipeline.data.layout import Contents
from pipeline.data.metadata import Metadata
from pipeline.data.names import SPLITS, Split, printable
from pipeline.data.rows import SPLIT_COLUMN, Columns, Rows, source_of_rows, split_by_column
from pipeline.data.tree import Found


def labelled_source(contents: Contents, tables: Sequence[Metadata], columns: Columns) -> Source:
    """The pictures that `tables` name; others are left out.

    Raises DataError for a row whose picture is not there, a picture that is named twice, and a split without rows.
    """
    rows = _rows(contents, tables)
    of: dict[Split, list[tuple[Found, dict[str, Any]]]] = {split: [] for split in SPLITS}
    left_out = [*contents.left_out, *(LeftOut(entry.name, "a table of labels") for entry in contents.tables)]
    for entry in contents.pictures:
        split = contents.split(entry.parts)
        if split is None or entry.parts not in rows:
            reason = "outside the folders of splits" if split is None else "in no table of labels"
            left_out.append(LeftOut(printable(entry.name), reason))
        else:
            of[split].append((entry, rows[entry.parts]))
    for split in ("train", *contents.splits.values()):
        if not of[split] and any(contents.split(entry.parts) == split for entry in contents.pictures):
            names = some([table.entry.name for table in tables])
            raise DataError(f"{contents.folder(split)} has pictures, but {names} name(s) none of them")
    by_column = columns.group is not None and all(columns.group in table.columns for table in tables)
    splits = {split: _as_rows(found, columns, by_column) for split, found in of.items() if found or split == "train"}
    remark = None
    if not contents.splits and all(SPLIT_COLUMN in table.columns for table in tables):
        values = [row.get(SPLIT_COLUMN) for _, row in of["train"]]
        splits, remark = split_by_column(splits["train"], values, SPLIT_COLUMN)
    return source_of_rows(str(contents.root), splits, None, columns, left_out, [remark] if remark else [], kind="files")


def _rows(contents: Contents, tables: Sequence[Metadata]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Every row by its picture's place."""
    there = {entry.parts for entry in contents.pictures}
    known = {left.name for left in contents.left_out}
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for table in tables:
        missing = []
        for row in table.rows:
            place = table.place(row)
            if place in found:
                raise DataError(f"{table.entry.path} names {'/'.join(place)!r} twice; one label each is needed")
            if place in there:
                found[place] = row
            elif printable("/".join(place)) not in known:
                missing.append("/".join(place))
        if missing:
            raise DataError(f"{table.entry.path} names {len(missing)} file(s) that are not there: {some(missing)}")
    return found


def _as_rows(found: Sequence[tuple[Found, dict[str, Any]]], columns: Columns, by_column: bool) -> Rows:
    def content(row: int) -> Content:
        return found[row][0].path

    return Rows(
        lambda row: printable(found[row][0].name),
        [row.get(columns.label) for _, row in found],
        [entry.parts[-1] for entry, _ in found],
        [row.get(columns.group or "") for _, row in found] if by_column else None,
        content,
    )
