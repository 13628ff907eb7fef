"""Which items are the same picture, byte by byte."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Final

from pipeline.data.errors import DataError
from pipeline.data.items import Item

_File = tuple[int, str, int]  # place among the items, path, size in bytes
_END_BYTES: Final = 512


def content_digests(items: Sequence[Item]) -> list[str | None]:
    """A hash of each item's bytes, in the same order; None where no other can be the same, or it cannot be read.

    A file is read only where another has its size, and the whole of it only where another ends as it does, so that
    hundreds of thousands of files take seconds.
    """
    files: list[_File] = []
    digests: list[str | None] = [None] * len(items)
    for index in sorted(range(len(items)), key=[item.name for item in items].__getitem__):
        try:
            item = items[index]
            content = item.content()
            if item.file_bytes is not None:
                files.append((index, str(content), item.file_bytes))
            elif isinstance(content, bytes):
                digests[index] = hashlib.blake2b(content, digest_size=16).hexdigest()
            else:
                files.append((index, str(content), Path(content).stat().st_size))
        except (DataError, OSError):
            continue  # told with all that cannot be decoded
    alike = _repeated(files, lambda file: file[2])
    alike = _repeated(alike, lambda file: (file[2], _end(*file[1:])))
    for index, path, _ in alike:
        try:
            with Path(path).open("rb") as stream:
                digests[index] = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except OSError:
            continue
    seen = Counter(digests)
    return [digest if seen[digest] > 1 else None for digest in digests]


def _repeated(files: Sequence[_File], key: Callable[[_File], Hashable]) -> list[_File]:
    """Those whose key another one has, too."""
    keys = [key(file) for file in files]
    counts = Counter(keys)
    return [file for file, found in zip(files, keys, strict=True) if counts[found] > 1]


def _end(path: str, size: int) -> bytes:
    """A hash of the last bytes of a file, in which pictures of one size differ; nothing where it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY)  # open() takes three times as long
        try:
            return hashlib.blake2b(os.pread(file, _END_BYTES, max(0, size - _END_BYTES)), digest_size=16).digest()
        finally:
            os.close(file)
    except OSError:
        return b""
