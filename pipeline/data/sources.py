"""Where labelled images come from: class folders, Parquet files, a hub name, or the embedded digits.

A source only lists items; pixels are read later, one image at a time, so a broken file can be named.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

from pipeline.data.digits import DIGITS, digits
from pipeline.data.errors import DataError
from pipeline.data.folders import folder_source
from pipeline.data.hub import hub_source
from pipeline.data.items import Item, Source
from pipeline.data.names import ARCHIVES, suffix_of
from pipeline.data.parquet import is_parquet, parquet_file_source, parquet_source
from pipeline.data.rows import Columns
from pipeline.data.tree import walk
from pipeline.process import without_collector

__all__ = ["DIGITS", "DataError", "Item", "Source", "fingerprint", "open_source"]

_ACCEPTED: Final = "accepted are a folder of class folders, Parquet files, an 'owner/name' of the hub, or 'digits'"
_TAIL: Final = 65_536  # of a table's bytes: where Parquet keeps its statistics, and all of a small table


@without_collector()
def open_source(path: str, group: str | None, image_column: str, label_column: str) -> Source:
    """The images at `path`: a folder of class folders, Parquet (a file or a folder of them), a hub name, `digits`.

    `group` is a column's name, or a regular expression whose first group in the file name names the group.
    Raises DataError where there is nothing there, or nothing usable.
    """
    columns = Columns(image_column, label_column, group)
    if path == DIGITS:
        if group is not None:
            raise DataError(f"[data] group {group!r}: the embedded digits have no columns and no file names")
        return digits()
    place = _place(path)
    if place is not None and place.is_dir():
        entries = list(walk(place))
        by_table = any(map(is_parquet, entries))
        return parquet_source(place, entries, columns) if by_table else folder_source(place, entries, columns)
    if place is not None:
        return _from_file(path, place, columns)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", path) and not path.startswith("."):
        return hub_source(path, columns, _ACCEPTED)
    raise DataError(f"[data] path {path!r} does not exist; {_ACCEPTED}")


def fingerprint(path: str) -> str | None:
    """A hash of what is at `path` by names and sizes, which changes when pictures are added, replaced or taken away.

    Reads no picture. None where nothing is there any more; a fixed text for what is no folder or file here.
    """
    place = _place(path)
    if place is None:
        return None if Path(path).is_absolute() or path.startswith((".", "~")) else "not a folder here"
    entries = list(walk(place)) if place.is_dir() else []
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.name}\0{entry.size_bytes}\n".encode("utf-8", "surrogateescape"))
        if suffix_of(entry.name) in (".csv", ".jsonl", ".parquet") and entry.problem is None:
            digest.update(_tail(entry.path))
    if place.is_file():
        digest.update(f"{place.stat().st_size}".encode() + _tail(place))
    return digest.hexdigest()


def _place(path: str) -> Path | None:
    """The folder or file that a path means; `~` is a home where no folder is called so."""
    for place in (Path(path), Path(path).expanduser() if path.startswith("~") else Path(path)):
        try:
            if place.exists():
                return place
        except (OSError, ValueError):  # too long, or no name at all
            continue
    return None


def _from_file(path: str, place: Path, columns: Columns) -> Source:
    if not place.is_file():
        raise DataError(f"[data] path {path!r} is neither a folder nor a regular file; {_ACCEPTED}")
    suffix = place.suffix.lower()
    if suffix == ".parquet":
        return parquet_file_source(place, columns)
    if suffix in ARCHIVES:
        folder = place.with_suffix("")
        raise DataError(
            f"[data] path {path!r} is an archive, which is not opened: unpack it"
            f"{f' (unzip {place.name} -d {folder.name})' if suffix == '.zip' else ''} and give the folder"
        )
    raise DataError(f"[data] path {path!r} is a {suffix or 'plain'} file; {_ACCEPTED}")


def _tail(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - _TAIL))
            return stream.read()
    except OSError:
        return b""
