"""Small values that stand in a MIL program itself: sizes, axes, flags and names of modes."""

import math
from typing import Any, Final

from pipeline.modelfiles import wire
from pipeline.modelfiles.wire import Fields

_MOST: Final = 64
_FLOATS, _INTS, _BOOLS, _STRINGS, _LONGS, _BYTES = 1, 2, 3, 4, 5, 7  # fields of TensorValue
_NUMPY: Final = {21: "i1", 22: "<i2", 31: "u1", 32: "<u2", 10: "<f2"}  # kinds that are stored as bytes


def plain_value(value: Fields) -> Any:
    """The array or the text of a value; None where there are many numbers, or they lie in the weights file."""
    import numpy as np

    tensor = wire.message(wire.message(value, 2), 1)
    sizes = [wire.integer(wire.message(dimension, 1), 1) for dimension in wire.messages(tensor, 3)]
    content = wire.message(wire.message(value, 3), 1)
    if not content or math.prod(sizes) > _MOST:
        return None
    for field in content:
        inner = wire.message(content, field)
        packed = inner.get(1, [])
        if field == _STRINGS:
            return wire.text(inner, 1)
        if field == _FLOATS:
            numbers = np.frombuffer(b"".join(part for part in packed if isinstance(part, bytes)), "<f4")
        elif field in (_INTS, _BOOLS, _LONGS):
            numbers = np.asarray([number for part in packed for number in _varints(part)], np.int64)
        elif field == _BYTES and wire.integer(tensor, 1) in _NUMPY:
            raw = b"".join(part for part in content[field] if isinstance(part, bytes))
            raw = b"".join(part for part in wire.fields(raw).get(1, []) if isinstance(part, bytes))
            numbers = np.frombuffer(raw, _NUMPY[wire.integer(tensor, 1)])
        else:
            return None
        return numbers.reshape(sizes) if numbers.size == math.prod(sizes) else None
    return np.zeros(sizes, np.int64) if 0 in sizes else None


def _varints(part: int | bytes) -> list[int]:
    """Packed whole numbers, negative ones too."""
    if isinstance(part, int):
        return [_signed(part)]
    found, position = [], 0
    while position < len(part):
        number, position = wire.varint(part, position)
        found.append(_signed(number))
    return found


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
