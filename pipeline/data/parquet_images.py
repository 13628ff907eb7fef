"""The images of Parquet files, read forwards a few rows at a time: memory does not grow with the files."""

import bisect
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pipeline.data.errors import DataError
from pipeline.data.items import Content
from pipeline.data.rows import inside

_ROWS_AT_ONCE: Final = 32


class ParquetImages:
    """The image column of several files as one; `starts` are the numbers of the files' first rows.

    Quick for rows asked for in rising order. For one thread.
    """

    def __init__(self, root: Path, files: Sequence[Path], starts: Sequence[int], column: str) -> None:
        self._root, self._files, self._starts, self._column = root, files, starts, column
        self._file: _Forwards | None = None

    def file_of(self, row: int) -> int:
        """The index of the file that has a row."""
        return bisect.bisect_right(self._starts, row) - 1

    def content(self, row: int) -> Content:
        """The encoded image of a row, or its file; DataError where there is none inside the data's folder."""
        index = self.file_of(row)
        path = self._files[index]
        with reading(path):
            if self._file is None or self._file.path != path:
                self._file = _Forwards(path, self._column)
            value = self._file.value(row - self._starts[index])
        return image_content(value, self._root, path.parent)


def image_content(value: Any, root: Path, beside: Path) -> Content:
    """What an image column's value holds: bytes, or a file inside `root`, seen from `beside` or from `root`.

    Raises DataError where it is neither.
    """
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, str) and value:
        return inside(root, value, beside, root)
    raise DataError("the row has no image")


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Name the file where pyarrow finds it damaged."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, MemoryError, OverflowError, UnicodeDecodeError):
        raise DataError(f"[data] {file} is corrupt, or is no Parquet file") from None


class _Forwards:
    """One column of one file."""

    def __init__(self, path: Path, column: str) -> None:
        from pyarrow.parquet import ParquetFile

        self.path, self._column = path, column
        self._opened = ParquetFile(path, pre_buffer=False)
        sizes = [self._opened.metadata.row_group(g).num_rows for g in range(self._opened.num_row_groups)]
        self._ends = list(itertools.accumulate(sizes))
        self._group = -1
        self._batches: Iterator[Any] = iter(())
        self._first, self._batch = 0, None

    def value(self, row: int) -> Any:
        group = bisect.bisect_right(self._ends, row)
        if group != self._group or row < self._first:
            self._group, self._batch = group, None
            self._first = self._ends[group - 1] if group else 0
            self._batches = self._opened.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=[self._column])
        while self._batch is None or row >= self._first + len(self._batch):
            self._first += 0 if self._batch is None else len(self._batch)
            batch = next(self._batches, None)
            if batch is None:
                raise OSError("fewer rows than the file's footer says")
            self._batch = batch.column(0)
        return self._batch[row - self._first].as_py()
