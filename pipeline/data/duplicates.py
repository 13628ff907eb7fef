"""Which items are the same picture, byte by byte."""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Final

from pipeline.data.errors import DataError
from pipeline.data.items import Item

_File = tuple[int, Path, int]  # place among the items, path, size in bytes
_END_BYTES: Final = 512


def content_digests(items: Sequence[Item]) -> list[str | None]:
    """A hash of each item's bytes, in the same order; None where no other can be the same, or it cannot be read.

    A file is read only where another has its size, and the whole of it only where another ends as it does, so that
    hundreds of thousands of files take seconds.
    """
    files: list[_File] = []
    digests: list[str | None] = [None] * len(items)
    for index, item in sorted(enumerate(items), key=lambda pair: pair[1].name):
        try:
            content = item.content()
            if isinstance(content, Path):
                files.append((index, content, content.stat().st_size))
            else:
                digests[index] = hashlib.blake2b(content, digest_size=16).hexdigest()
        except (DataError, OSError):
            continue  # told with all that cannot be decoded
    alike = _repeated(files, lambda file: file[2])
    alike = _repeated(alike, lambda file: (file[2], _end(*file[1:])))
    for index, path, _ in alike:
        try:
            with path.open("rb") as stream:
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


def _end(path: Path, size: int) -> bytes:
    """A hash of the last bytes of a file, in which pictures of one size differ; nothing where it cannot be read."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, size - _END_BYTES))
            return hashlib.blake2b(stream.read(), digest_size=16).digest()
    except OSError:
        return b""
