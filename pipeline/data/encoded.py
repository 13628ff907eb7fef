"""Pictures that stay encoded, in an Arrow file of their bytes or their files' names, and are decoded when asked for.

Decoded, large sets fit into no memory: 200,000 pictures of 256 x 256 pixels are 39 GB.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.data.errors import DataError
from pipeline.data.items import Item
from pipeline.data.pictures import Deep, depth_of, square

if TYPE_CHECKING:
    import pyarrow

_ROWS: Final = 32  # of a record batch: what is in memory while the file is written


class EncodedPictures:
    """Pixels (n, size, size, 3) uint8, decoded whenever they are indexed by rows: an array that is only read.

    Any process may use it, also one that it was sent to. Greys of more than eight bits are taken as `depth` bits.
    """

    def __init__(self, file: Path, size: int, depth: int | None) -> None:
        """Those that `keep_encoded` left in `file`; DataError where it is corrupt."""
        self.file, self.size, self.depth = file, size, depth
        self._opened: tuple[int, pyarrow.RecordBatchFileReader] | None = None
        self._count = int(self._reader.schema.metadata[b"pictures"])

    def __len__(self) -> int:
        return self._count

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As an array's."""
        return self._count, self.size, self.size, 3

    @property
    def ndim(self) -> int:
        """As an array's."""
        return 4

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pixels of `rows` (m,), decoded here and now. Raises DataError naming a picture that cannot be read."""
        pixels = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        with warnings.catch_warnings():  # Pillow warns on stderr of sizes that ours refuses by name
            warnings.simplefilter("ignore")
            for place, row in enumerate(rows.tolist()):
                pixels[place] = self._decoded(row)
        return pixels

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for row in range(len(self)):
            yield self[np.array([row])][0]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def _decoded(self, row: int) -> NDArray[np.uint8]:
        name, path, content = self._entry(row)
        found = square(name, path if content is None else content, self.size, self.depth)
        if isinstance(found, Deep):
            found = square(name, path if content is None else content, self.size, depth_of(found.peak))
        if isinstance(found, Deep):
            raise TypeError("a picture with a depth has pixels")
        return found

    def _entry(self, row: int) -> tuple[str, str, bytes | None]:
        batch = self._reader.get_batch(row // _ROWS)
        name, path, content = (batch.column(column)[row % _ROWS].as_py() for column in ("name", "path", "bytes"))
        return str(name), os.fsdecode(path), content

    @property
    def _reader(self) -> "pyarrow.RecordBatchFileReader":
        """The file, opened in this process; a forked one must not use its parent's."""
        import pyarrow

        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = os.getpid(), pyarrow.ipc.open_file(pyarrow.memory_map(str(self.file)))
            except (OSError, pyarrow.ArrowException) as error:
                raise DataError(f"{self.file} is corrupt ({error})") from None
        return self._opened[1]


def keep_encoded(items: Sequence[Item], file: Path) -> None:
    """Write where the pictures of `items` are into `file`, or their bytes where they are no files of their own.

    A few at a time, so memory stays small. Raises DataError for a picture that is nowhere.
    """
    import pyarrow

    fields = [("name", pyarrow.string()), ("path", pyarrow.binary()), ("bytes", pyarrow.large_binary())]
    schema = pyarrow.schema(fields, {"pictures": str(len(items))})
    scratch = file.with_name(f".{file.name}")
    try:
        with pyarrow.OSFile(str(scratch), "wb") as sink, pyarrow.ipc.new_file(sink, schema) as writer:
            for start in range(0, len(items), _ROWS):
                rows = [_row(item) for item in items[start : start + _ROWS]]
                columns = map(pyarrow.array, zip(*rows, strict=True), schema.types)
                writer.write_batch(pyarrow.RecordBatch.from_arrays(list(columns), schema=schema))
        scratch.replace(file)
    finally:
        scratch.unlink(missing_ok=True)


def _row(item: Item) -> tuple[str, bytes, bytes | None]:
    """Its name, its file where it is one, its bytes where it is none."""
    try:
        content = item.content()
    except DataError as error:
        raise DataError(f"image {item.name!r} cannot be read: {error}") from None
    if isinstance(content, bytes):
        return item.name, b"", content
    file = content if os.path.isabs(content) else Path(content).absolute()  # noqa: PTH117 - four times as quick
    return item.name, os.fsencode(file), None
