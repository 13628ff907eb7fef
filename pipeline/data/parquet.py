"""Parquet files -> rows; images stay in the files until they are decoded, a few at a time."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.data.errors import DataError, some
from pipeline.data.items import LeftOut, Source
from pipeline.data.names import PICTURES, Split, accepted_splits, is_hidden, split_of, splits_in, suffix_of
from pipeline.data.parquet_images import ParquetImages, reading
from pipeline.data.rows import SPLIT_COLUMN, Columns, Rows, source_of_rows, split_by_column
from pipeline.data.tree import Found


def parquet_source(root: Path, entries: Sequence[Found], columns: Columns) -> Source:
    """The rows of all Parquet files among `entries`, which are all files under `root`.

    Raises DataError for a corrupt file, a missing or unusable column, and names that leave the splits open.
    """
    files = [entry for entry in entries if is_parquet(entry)]
    others = [LeftOut(entry.name, _why_not(entry)) for entry in entries if not is_parquet(entry)]
    splits = parquet_splits(str(root), files)
    pictures = sum(suffix_of(entry.name) in PICTURES for entry in entries)
    names = _class_names(files, columns, pictures)
    rows = {split: _rows(root, of, columns) for split, of in splits.items()}
    return _source(str(root), rows, files, names, columns, others)


def parquet_file_source(file: Path, columns: Columns) -> Source:
    """The rows of one Parquet file, whatever its name; none of it is a split yet."""
    entry = Found(str(file.parent), file.name, file.stat().st_size)
    names = _class_names([entry], columns, 0)
    return _source(str(file), {"train": _rows(file.parent, [entry], columns)}, [entry], names, columns, [])


def _source(
    where: str,
    rows: Mapping[Split, Rows],
    files: Sequence[Found],
    names: tuple[str, ...] | None,
    columns: Columns,
    others: Sequence[LeftOut],
) -> Source:
    """The source of `rows`, whose splits a column `split` names where no file does."""
    remark = None
    if list(rows) == ["train"] and all(SPLIT_COLUMN in _column_names(file.path) for file in files):
        values = [value for file in files for value in _column(file.path, SPLIT_COLUMN)]
        rows, remark = split_by_column(rows["train"], values, SPLIT_COLUMN)
    return source_of_rows(where, rows, names, columns, others, [remark] if remark else [])


def is_parquet(entry: Found) -> bool:
    """Whether a file is one of the data: no hidden file, and no table beside pictures."""
    return (
        suffix_of(entry.name) == ".parquet"
        and entry.problem is None
        and not is_hidden(entry.parts)
        and entry.parts[-1] != "metadata.parquet"
    )


def parquet_splits(where: str, files: Sequence[Found]) -> dict[Split, list[Found]]:
    """Files by split, named by a folder (`default/test/0000.parquet`) or the file's name (`test-00000.parquet`).

    Without any such name all are training. Raises DataError where only some files name a split, where names
    contradict each other, and where two sets stand side by side.
    """
    named = [(file, *_named(file)) for file in files]
    unknown = [file.name for file, split, _ in named if split is None]
    if len(unknown) == len(files):
        return {"train": list(files)}
    if unknown:
        raise DataError(
            f"{where}: {some(unknown)} name(s) no split, beside files that do; name every file or none"
            f" ({accepted_splits()})"
        )
    if len(sets := sorted({"/".join(above) for _, _, above in named})) > 1:
        raise DataError(f"{where} holds several sets with splits of their own: {some(sets)}; give one of them as path")
    found: dict[Split, list[Found]] = {}
    for file, split, _ in named:
        if split is not None:
            found.setdefault(split, []).append(file)
    if "train" not in found:
        raise DataError(
            f"{where} has {some([file.name for file in files])}, which name(s) no training split; name it"
            f" ({accepted_splits()}), or give one file as path to have it divided"
        )
    return found


def _named(file: Found) -> tuple[Split | None, tuple[str, ...]]:
    """The split that a file's path names, and the folders above that name."""
    *folders, name = file.parts
    by_folder = [(split_of(part.removeprefix("partial-")), index) for index, part in enumerate(folders)]
    by_folder = [(split, index) for split, index in by_folder if split is not None]
    splits = {split for split, _ in by_folder} or splits_in(name.removesuffix(".parquet"))
    if len(splits) > 1 or (by_folder and splits_in(name) - splits):
        raise DataError(f"{file.name!r} names more than one split; rename it ({accepted_splits()})")
    above = tuple(folders[: by_folder[0][1]]) if by_folder else tuple(folders)
    return (next(iter(splits)) if splits else None), above


def _why_not(entry: Found) -> str:
    if entry.problem or is_hidden(entry.parts):
        return entry.problem or "hidden"
    return "a picture beside Parquet files" if suffix_of(entry.name) in PICTURES else "no Parquet file"


def _class_names(files: Sequence[Found], columns: Columns, pictures: int) -> tuple[str, ...] | None:
    """The class names that the files' schema declares for the label column; all files must agree."""
    from pyarrow.parquet import read_schema

    declared: dict[tuple[str, ...] | None, Path] = {}
    for file in files:
        with reading(file.path):
            schema = read_schema(file.path)
        beside = f"; {pictures} pictures lie beside it: take it away if they are the data" if pictures else ""
        for column in (columns.image, columns.label):
            if (number := len(schema.get_all_field_indices(column))) != 1:
                told = "no column" if not number else f"{number} columns called"
                raise DataError(
                    f"{file.path} has {told} {column!r}; it has {some(schema.names)} ([data] image_column and"
                    f" label_column name others){beside}"
                )
        _require_images(file.path, columns.image, schema.field(columns.image).type)
        declared[_declared(schema.metadata, columns.label)] = file.path
    if len(declared) > 1:
        first, second = list(declared.values())[:2]
        raise DataError(f"{first} and {second} declare different class names for {columns.label!r}")
    return next(iter(declared))


def _require_images(file: Path, column: str, kind: Any) -> None:
    from pyarrow import types

    encoded = (types.is_binary, types.is_large_binary, types.is_string, types.is_large_string)
    if any(is_kind(kind) for is_kind in encoded):
        return
    if types.is_struct(kind) and {"bytes", "path"} & {kind.field(index).name for index in range(kind.num_fields)}:
        return
    raise DataError(
        f"{file}: column {column!r} holds {str(kind)[:60]}, which are no pictures; accepted are the bytes of image"
        " files, their paths, or records of both (bytes, path)"
    )


def _declared(metadata: Mapping[bytes, bytes] | None, column: str) -> tuple[str, ...] | None:
    """The names of a ClassLabel in the `huggingface` key of a schema."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
        if features[column].get("_type") == "ClassLabel" and all(isinstance(name, str) for name in names):
            return tuple(names)
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError):
        pass  # written by another tool, or no ClassLabel: the values themselves are the classes
    return None


def _rows(root: Path, files: Sequence[Found], columns: Columns) -> Rows:
    """The rows of all `files`, one after another."""
    labels: list[Any] = []
    names: list[str | None] = []
    groups: list[Any] = []
    starts: list[int] = []
    by_column = columns.group is not None and all(columns.group in _column_names(file.path) for file in files)
    for file in files:
        starts.append(len(labels))
        labels += _column(file.path, columns.label)
        names += _file_names(file.path, columns.image) or [None] * (len(labels) - len(names))
        if by_column and columns.group is not None:
            groups += _column(file.path, columns.group)
    images = ParquetImages(root, [file.path for file in files], starts, columns.image)

    def name(row: int) -> str:
        index = images.file_of(row)
        file_name = names[row]
        shown = f" ({PurePosixPath(file_name).name})" if file_name else ""
        return f"{files[index].name} row {row - starts[index]:0{len(str(len(labels)))}}{shown}"

    return Rows(name, labels, names, groups if by_column else None, images.content)


def _column_names(file: Path) -> list[str]:
    from pyarrow.parquet import read_schema

    with reading(file):
        return list(read_schema(file).names)


def _column(file: Path, column: str) -> list[Any]:
    from pyarrow.parquet import ParquetFile

    with reading(file), ParquetFile(file) as opened:
        return list(opened.read(columns=[column]).column(0).to_pylist())


def _file_names(file: Path, column: str) -> list[str | None] | None:
    """The `path` beside every image's bytes, or the paths that the column itself is; None where there are none."""
    from pyarrow import types
    from pyarrow.parquet import ParquetFile, read_schema

    with reading(file):
        kind = read_schema(file).field(column).type
        if types.is_string(kind) or types.is_large_string(kind):
            return _column(file, column)
        if not types.is_struct(kind) or kind.get_field_index("path") < 0:
            return None
        with ParquetFile(file) as opened:
            values = opened.read(columns=[f"{column}.path"]).column(0).to_pylist()
        return [None if value is None else value["path"] for value in values]
