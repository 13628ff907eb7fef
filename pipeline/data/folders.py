"""A folder of class folders -> a source: `<class>/…`, or `<split>/<class>/…`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.data.errors import DataError, some
from pipeline.data.groups import pattern_groups
from pipeline.data.items import Item, LeftOut, Source
from pipeline.data.labelled_folder import labelled_source
from pipeline.data.layout import Contents, sort_contents
from pipeline.data.metadata import read_metadata
from pipeline.data.names import ARCHIVES, SPLITS, Split, is_hidden, printable, suffix_of
from pipeline.data.rows import Columns
from pipeline.data.tree import Found, folders_in


def folder_source(root: Path, entries: Sequence[Found], columns: Columns) -> Source:
    """The pictures among `entries`, which are all files under `root`.

    Their classes are the folders that they are in, at the first level or right below a split; or what a table of
    metadata with the label column says. Raises DataError naming what was found where neither tells them.
    """
    contents = sort_contents(root, entries)
    tables = [read_metadata(entry) for entry in contents.tables]
    labelled = [table for table in tables if columns.label in table.columns]
    if not contents.pictures:
        raise DataError(_nothing(root, contents))
    if labelled:
        return labelled_source(contents, labelled, columns)
    remarks = []
    for table in tables:
        told = f"{table.entry.name} has no column {columns.label!r} (it has {some(table.columns)})"
        if not _class_folders(contents):
            raise DataError(f"{root}: {told}; [data] label_column names the column of labels")
        remarks.append(f"{told}; classes are the folders")
    if columns.label != "label":
        found = "; ".join(remarks) or "there is no metadata.csv"
        raise DataError(f"{root}: [data] label_column = {columns.label!r} names a column of a metadata file: {found}")
    left = [LeftOut(table.entry.name, "a table without labels") for table in tables]
    source = _by_folder(contents, columns.group)
    return replace(source, left_out=(*source.left_out, *left), found=len(entries), remarks=(*remarks, *source.remarks))


def _by_folder(contents: Contents, group: str | None) -> Source:
    of: dict[Split, list[Found]] = {split: [] for split in SPLITS}
    folders: dict[Split, list[str]] = {split: [] for split in SPLITS}  # of the same
    left_out = list(contents.left_out)
    for entry in contents.pictures:
        parts = entry.parts
        split, below = contents.split(parts), contents.below(parts)
        if split is None or len(below) < 2:
            left_out.append(LeftOut(printable(entry.name), "outside class folders"))
        else:
            of[split].append(entry)
            folders[split].append(below[0])
    _require_class_folders(contents, of)
    classes = {split: sorted(set(found)) for split, found in folders.items()}
    known = classes["train"]
    _require_classes(contents, known)
    remarks = _vanished(contents, classes)
    for split in SPLITS[1:]:
        if strange := [printable(name) for name in classes[split] if name not in known]:
            raise DataError(
                f"{contents.folder(split)} has the class folder(s) {some(strange)}, which training has not; it has"
                f" {some([printable(name) for name in known])}"
            )
    number = {name: index for index, name in enumerate(known)}
    items = {
        split: tuple(
            Item(printable(entry.name), number[folder], member, entry.content, entry.size_bytes)
            for entry, folder, member in zip(found, folders[split], _groups(found, group), strict=True)
        )
        for split, found in of.items()
    }
    return Source(
        items["train"],
        items["search"],
        items["test"],
        tuple(printable(name) for name in known),
        found=0,
        left_out=tuple(left_out),
        remarks=tuple(remarks),
        grouped=group is not None,
    )


def _groups(entries: Sequence[Found], group: str | None) -> Sequence[str]:
    if group is None:
        return [entry.name for entry in entries]
    return pattern_groups([entry.parts[-1] for entry in entries], group)


def _class_folders(contents: Contents) -> bool:
    return any(len(contents.below(entry.parts)) > 1 for entry in contents.pictures)


def _nothing(root: Path, contents: Contents) -> str:
    """What a folder without a picture holds instead."""
    archives = [entry.name for entry in contents.left_out if suffix_of(entry.name) in ARCHIVES]
    if archives:
        return f"[data] path {str(root)!r} holds no images, but {some(archives)}: unpack it and give the folder"
    reasons = Counter(entry.reason for entry in contents.left_out)
    told = "; ".join(f"{count} file(s): {reason}" for reason, count in reasons.most_common(5)) or "it is empty"
    return f"[data] path {str(root)!r} holds no images in class folders, and no Parquet files ({told})"


def _require_class_folders(contents: Contents, of: dict[Split, list[Found]]) -> None:
    """Refuse a split, or a whole folder, whose pictures all lie outside class folders."""
    for split in SPLITS:
        flat = [entry for entry in contents.pictures if contents.split(entry.parts) == split]
        if of[split] or not (flat or split == "train" or split in contents.splits.values()):
            continue
        tables = [e.name for e in contents.left_out if suffix_of(e.name) in (".csv", ".json", ".jsonl", ".xlsx")]
        beside = f"; labels in {some(tables)} are read from a metadata.csv (file_name, label)" if tables else ""
        told = f"{len(flat)} pictures and no class folders, such as {flat[0].name!r}" if flat else "no pictures"
        raise DataError(
            f"{contents.folder(split)} has {told}; accepted are <class>/<image> below it, or a metadata.csv with the"
            f" columns file_name and label{beside}"
        )


def _require_classes(contents: Contents, classes: Sequence[str]) -> None:
    if len(classes) > 1:
        return
    place = contents.folder("train")
    inner = [name for name in folders_in(place / classes[0]) if not is_hidden((name,))]
    hint = f"; if its folders {some(inner)} are what you mean, give {place / classes[0]}" if len(inner) > 1 else ""
    raise DataError(
        f"{place} needs two or more class folders; it has one with pictures, {printable(classes[0])!r}{hint}"
    )


def _vanished(contents: Contents, classes: dict[Split, list[str]]) -> list[str]:
    """Remarks on folders that are no class for want of pictures; DataError where their pictures cannot be read."""
    remarks = []
    for split in SPLITS:
        if split != "train" and split not in contents.splits.values():
            continue
        place = contents.folder(split)
        for name in folders_in(place):
            if name in classes[split] or is_hidden((name,)):
                continue
            unread = [
                e for e in contents.unread if contents.split(e.parts) == split and contents.below(e.parts)[0] == name
            ]
            if unread:
                reasons = {left.reason for left in contents.left_out if left.name == printable(unread[0].name)}
                raise DataError(
                    f"class folder {str(place / name)!r} has no picture that can be read: {len(unread)} file(s) such"
                    f" as {unread[0].parts[-1]!r} ({', '.join(sorted(reasons))})"
                )
            remarks.append(f"folder {printable(str(place / name))!r} has no pictures and is no class")
    return remarks
