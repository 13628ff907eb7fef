"""Protocol buffers without their classes: enough to look into a Core ML file where coremltools is not installed."""

from collections import defaultdict
from collections.abc import Mapping

Fields = Mapping[int, list[int | bytes]]


class WireError(ValueError):
    """Bytes that are no message."""


def fields(data: bytes) -> Fields:
    """The values of each field number in order: integers, or the bytes of strings, messages and packed arrays.

    Fixed-width numbers are given as their bytes. Raises WireError.
    """
    found: dict[int, list[int | bytes]] = defaultdict(list)
    position, end = 0, len(data)
    while position < end:
        tag, position = varint(data, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = varint(data, position)
            found[number].append(value)
            continue
        if kind == 2:
            length, position = varint(data, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise WireError(f"field {number} has the unknown wire type {kind}")
        if position + length > end:
            raise WireError(f"field {number} is cut off")
        found[number].append(data[position : position + length])
        position += length
    return found


def message(of: Fields, number: int) -> Fields:
    """The message in a field; empty where there is none."""
    return next(iter(messages(of, number)), {})


def messages(of: Fields, number: int) -> list[Fields]:
    """The messages in a repeated field."""
    return [fields(value) for value in of.get(number, []) if isinstance(value, bytes)]


def text(of: Fields, number: int) -> str:
    """The string in a field, "" where there is none."""
    for value in of.get(number, []):
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
    return ""


def integer(of: Fields, number: int, default: int = 0) -> int:
    """The whole number in a field."""
    for value in of.get(number, []):
        if isinstance(value, int):
            return value
    return default


def entries(of: Fields, number: int) -> dict[str, Fields]:
    """A map from strings to messages."""
    return {text(entry, 1): message(entry, 2) for entry in messages(of, number)}


def varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and where it ends. Raises WireError."""
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise WireError("a number is cut off")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
