"""TFLite files written by hand with the flatbuffers builder: graphs that no converter at hand makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np


@dataclass(frozen=True)
class Tensor:
    """A tensor; `data` makes it a constant, `signature` has -1 for what is open."""

    shape: tuple[int, ...]
    data: Any = None
    signature: tuple[int, ...] | None = None
    name: str = ""


@dataclass(frozen=True)
class Op:
    """An operator by its number in the schema; `options` are (field, bytes, value), `kind` their type's number."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: tuple[tuple[int, int, int], ...] = ()
    kind: int = 0


def tflite_file(tensors: Sequence[Tensor], ops: Sequence[Op], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """A model of one graph."""
    builder = flatbuffers.Builder(1024)
    empty = [_table(builder, [])]
    buffers, made = [*empty], []
    for tensor in tensors:
        index = 0
        if tensor.data is not None:
            data = builder.CreateByteVector(np.ascontiguousarray(tensor.data).tobytes())
            index = len(buffers)
            buffers.append(_table(builder, [(0, "offset", data)]))
        name = builder.CreateString(tensor.name)
        fields = [(0, "offset", _ints(builder, tensor.shape)), (2, "int", index), (3, "offset", name)]
        if tensor.data is not None and np.asarray(tensor.data).dtype == np.int32:
            fields.append((1, "byte", 2))
        if tensor.signature is not None:
            fields.append((7, "offset", _ints(builder, tensor.signature)))
        made.append(_table(builder, fields))
    codes = sorted({op.code for op in ops})
    code_tables = [_table(builder, [(0, "byte", min(code, 127)), (3, "int", code)]) for code in codes]
    operations = []
    for op in ops:
        fields = [(0, "int", codes.index(op.code)), (1, "offset", _ints(builder, op.inputs))]
        fields.append((2, "offset", _ints(builder, op.outputs)))
        if op.options:
            options = _table(builder, [(f, "byte" if width == 1 else "int", value) for f, width, value in op.options])
            fields += [(3, "byte", op.kind), (4, "offset", options)]
        operations.append(_table(builder, fields))
    graph = _table(
        builder,
        [
            (0, "offset", _offsets(builder, made)),
            (1, "offset", _ints(builder, inputs)),
            (2, "offset", _ints(builder, outputs)),
            (3, "offset", _offsets(builder, operations)),
        ],
    )
    model = _table(
        builder,
        [
            (0, "int", 3),
            (1, "offset", _offsets(builder, code_tables)),
            (2, "offset", _offsets(builder, [graph])),
            (4, "offset", _offsets(builder, buffers)),
        ],
    )
    builder.Finish(model, b"TFL3")
    return bytes(builder.Output())


def _ints(builder: Any, values: Sequence[int]) -> Any:
    return builder.CreateNumpyVector(np.asarray(values, np.int32))


def _offsets(builder: Any, offsets: Sequence[Any]) -> Any:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _table(builder: Any, fields: Sequence[tuple[int, str, Any]]) -> Any:
    builder.StartObject(14)
    for slot, kind, value in fields:
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        elif kind == "byte":
            builder.PrependInt8Slot(slot, value, 0)
        else:
            builder.PrependInt32Slot(slot, value, 0)
    return builder.EndObject()
