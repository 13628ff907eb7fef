"""Rows of labels and images, from whatever table -> a source."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.errors import DataError
from pipeline.data.groups import column_groups, pattern_groups
from pipeline.data.items import Content, Item, LeftOut, Source
from pipeline.data.labels import read_labels
from pipeline.data.names import SPLITS, Split, split_of

SPLIT_COLUMN = "split"
UNLABELLED = "no label"


@dataclass(frozen=True, slots=True)
class Rows:
    """One split of a table: for every row its name, label, file name (where there is one), and its image.

    `groups` are the values of the column that [data] group names, None where it names none.
    """

    name: Callable[[int], str]
    labels: Sequence[Any]
    files: Sequence[str | None]
    groups: Sequence[Any] | None
    content: Callable[[int], Content]


@dataclass(frozen=True, slots=True)
class Columns:
    """What the configuration says about a table."""

    image: str
    label: str
    group: str | None


def source_of_rows(
    where: str,
    splits: Mapping[Split, Rows],
    names: Sequence[str] | None,
    columns: Columns,
    left_out: Sequence[LeftOut] = (),
    remarks: Sequence[str] = (),
    kind: str = "rows",
) -> Source:
    """The source that `splits` make; rows without a label are left out. `names` are declared class names."""
    if empty := [split for split, rows in splits.items() if not len(rows.labels)]:
        raise DataError(f"{where}: the {empty[0]} split is there, but has no rows")
    labels = read_labels({split: rows.labels for split, rows in splits.items()}, names, columns.label)
    if len(labels.classes) < 2:
        raise DataError(
            f"{where} has {'one class only, ' + repr(labels.classes[0]) if labels.classes else 'no label at all'}"
            f" (column {columns.label!r}); at least two classes are needed"
        )
    items: dict[Split, tuple[Item, ...]] = {}
    unlabelled: list[LeftOut] = []
    for split, rows in splits.items():
        numbers = labels.numbers[split]
        kept = [row for row, number in enumerate(numbers) if number is not None]
        groups = _groups(rows, kept, columns.group, split)
        items[split] = tuple(
            Item(rows.name(row), number, member, _reader(rows, row))
            for row, member in zip(kept, groups, strict=True)
            if (number := numbers[row]) is not None
        )
        unlabelled += [LeftOut(rows.name(row), UNLABELLED) for row, number in enumerate(numbers) if number is None]
    gone = tuple(f"the data's own {split} split has no labels and is left out" for split, of in items.items() if not of)
    return Source(
        items["train"],
        items.get("search", ()),
        items.get("test", ()),
        labels.classes,
        sum(len(rows.labels) for rows in splits.values()) + len(left_out),
        (*left_out, *unlabelled),
        (*remarks, *labels.remarks, *gone),
        grouped=columns.group is not None,
        kind=kind,
    )


def split_by_column(rows: Rows, values: Sequence[Any], column: str) -> tuple[dict[Split, Rows], str | None]:
    """The splits that a column of their names makes of `rows`, and a remark where it names none."""
    named = [split_of(value) if isinstance(value, str) else None for value in values]
    if None in named or "train" not in named:
        odd = next((value for value, split in zip(values, named, strict=True) if split is None), None)
        told = f"such as {str(odd)[:40]!r}" if odd is not None else "none for training"
        return {"train": rows}, f"column {column!r} names no splits ({told}) and is not used"
    places = {split: [row for row, of in enumerate(named) if of == split] for split in SPLITS}
    return {split: _chosen(rows, of) for split, of in places.items() if of}, None


def _chosen(rows: Rows, chosen: Sequence[int]) -> Rows:
    return Rows(
        lambda row: rows.name(chosen[row]),
        [rows.labels[row] for row in chosen],
        [rows.files[row] for row in chosen],
        None if rows.groups is None else [rows.groups[row] for row in chosen],
        lambda row: rows.content(chosen[row]),
    )


def inside(root: Path, path: str, *folders: Path) -> Path:
    """The file that `path` names from one of `folders`; DataError where it is outside `root` or is no file."""
    try:
        for folder in folders or (root,):
            file = (folder / path).resolve()
            if not file.is_relative_to(root.resolve()):
                raise DataError(f"{path!r} leads outside the data's folder {str(root)!r} and is not opened")
            if file.is_file():
                return file
    except (ValueError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path[:80]!r} is no file name") from None
    raise DataError(f"{path!r} is not in {str(root)!r}")


def _reader(rows: Rows, row: int) -> Callable[[], Content]:
    return lambda: rows.content(row)


def _groups(rows: Rows, kept: Sequence[int], group: str | None, split: str) -> Sequence[str]:
    if group is None:
        return [f"{split} {row}" for row in kept]
    if rows.groups is not None:
        return column_groups([rows.groups[row] for row in kept], group)
    named = [rows.files[row] for row in kept]
    if any(name is None for name in named):
        raise DataError(f"[data] group {group!r} is no column, and rows without a file name match no pattern")
    return pattern_groups([name for name in named if name is not None], group)
