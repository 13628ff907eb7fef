"""Which items are the same picture, byte by byte."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.data.errors import DataError
from pipeline.data.items import Item


def content_digests(items: Sequence[Item]) -> list[str | None]:
    """A hash of each item's bytes, in the same order; None where no other can be the same, or it cannot be read.

    A file is read only where another has its size.
    """
    files: list[tuple[int, Path, int]] = []
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
    sizes = Counter(size for _, _, size in files)
    for index, path, size in files:
        if sizes[size] > 1:
            try:
                with path.open("rb") as stream:
                    digests[index] = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            except OSError:
                continue
    seen = Counter(digests)
    return [digest if seen[digest] > 1 else None for digest in digests]
