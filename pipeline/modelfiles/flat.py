"""Flatbuffers without their classes. Every offset and length is held against the file's size before it is followed."""

import struct
from collections.abc import Iterator
from typing import Final

from pipeline.modelfiles.errors import ModelFileError

_FORMATS: Final = {1: "<b", 2: "<h", 4: "<i", 8: "<q"}


class Table:
    """A table whose fields are asked by number; one that is left out is 0, empty or None.

    Raises ModelFileError for offsets that lead out of the file.
    """

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._fields = position - self._read(position, 4)
        self._length = self._read(self._fields, 2) & 0xFFFF

    def _read(self, position: int, width: int) -> int:
        if not 0 <= position <= len(self._data) - width:
            raise ModelFileError("it is cut off or foreign (an offset leads out of the file)")
        return int(struct.unpack_from(_FORMATS[width], self._data, position)[0])

    def _place(self, field: int) -> int:
        """Where a field's value stands, 0 where it is left out."""
        slot = 4 + 2 * field
        offset = self._read(self._fields + slot, 2) & 0xFFFF if slot < self._length else 0
        return self._position + offset if offset else 0

    def _vector(self, field: int, width: int) -> tuple[int, int]:
        """The first element's place and the number of elements."""
        place = self._place(field)
        if not place:
            return 0, 0
        start = place + (self._read(place, 4) & 0xFFFFFFFF)
        length = self._read(start, 4) & 0xFFFFFFFF
        if start + 4 + length * width > len(self._data):
            raise ModelFileError("it is cut off or foreign (a vector is longer than the file)")
        return start + 4, length

    def number(self, field: int, width: int = 4, default: int = 0) -> int:
        """A whole number of `width` bytes."""
        place = self._place(field)
        return self._read(place, width) if place else default

    def text(self, field: int) -> str:
        """A string."""
        start, length = self._vector(field, 1)
        return self._data[start : start + length].decode("utf-8", "replace")

    def bytes(self, field: int) -> memoryview:
        """A vector of bytes, not copied."""
        start, length = self._vector(field, 1)
        return memoryview(self._data)[start : start + length]

    def numbers(self, field: int, width: int = 4) -> tuple[int, ...]:
        """A vector of whole numbers."""
        start, length = self._vector(field, width)
        return struct.unpack_from(f"<{length}{_FORMATS[width][1]}", self._data, start)

    def table(self, field: int) -> "Table | None":
        """The table in a field."""
        place = self._place(field)
        return Table(self._data, place + (self._read(place, 4) & 0xFFFFFFFF)) if place else None

    def tables(self, field: int) -> Iterator["Table"]:
        """A vector of tables."""
        start, length = self._vector(field, 4)
        for place in range(start, start + 4 * length, 4):
            yield Table(self._data, place + (self._read(place, 4) & 0xFFFFFFFF))
