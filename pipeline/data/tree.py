"""All files under a folder, links followed as long as they lead somewhere new."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Final

from pipeline.data.errors import DataError

_MOST_VISITS: Final = 8  # of one folder by different links: beyond it, links to links would multiply for ever


@dataclass(frozen=True, slots=True)
class Found:
    """A file under `root`: its name from there on with "/" between, its size; `problem` where it is no plain file.

    There may be hundreds of thousands, so paths are made when they are asked for.
    """

    root: str
    name: str
    size_bytes: int
    problem: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders from the root on, and the file."""
        return tuple(self.name.split("/"))

    @property
    def path(self) -> Path:
        """Where the file is."""
        return Path(self.root, self.name)

    def content(self) -> str:
        """The same, as an item's content."""
        return f"{self.root}{os.sep}{self.name}"


def walk(root: Path) -> Iterator[Found]:
    """Every file under `root` in the order of names; a link to a folder above itself is told as a problem.

    Raises DataError naming a folder that cannot be read.
    """
    start = str(root)
    visits: Counter[tuple[int, int]] = Counter()
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset())]
    while waiting:
        folder, before, above = waiting.pop()
        identity = _identity(folder)
        visits[identity] += 1
        inside = above | {identity}
        below = []
        for entry in _entries(folder):
            name = before + entry.name
            if not _is_folder(entry):
                yield _file(entry, start, name)
            elif (target := _identity(Path(entry.path))) in inside:
                yield Found(start, name, 0, "a link to a folder that it is in")
            elif visits[target] >= _MOST_VISITS:
                yield Found(start, name, 0, f"a link to a folder that {_MOST_VISITS} others lead to")
            else:
                below.append((Path(entry.path), f"{name}/", inside))
        waiting.extend(reversed(below))


def folders_in(folder: Path) -> list[str]:
    """The names of the folders, and links to folders, right in `folder`, in order."""
    return [entry.name for entry in _entries(folder) if _is_folder(entry)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=attrgetter("name"))
    except OSError as error:
        raise DataError(f"folder {str(folder)!r} cannot be read: {error.strerror}") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise DataError(f"folder {str(folder)!r} cannot be read: {error.strerror}") from None
    return status.st_dev, status.st_ino


def _file(entry: os.DirEntry[str], root: str, name: str) -> Found:
    try:
        status = entry.stat()
    except OSError:
        return Found(root, name, 0, "a link to nothing" if entry.is_symlink() else "cannot be read")
    if not stat.S_ISREG(status.st_mode):
        return Found(root, name, 0, "no regular file")
    return Found(root, name, status.st_size, None if status.st_size else "an empty file")
