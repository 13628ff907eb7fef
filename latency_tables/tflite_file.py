"""TFLite model files (schema version 3) of one graph, written field by field.

Numbers of fields, operators and types are those of `schema.fbs`, which only ever adds to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import flatbuffers

_VERSION: Final = 3
_IDENTIFIER: Final = b"TFL3"
_ALIGNMENT: Final = 16  # of weights, which runtimes use where they lie in the file


class Element(IntEnum):
    """What a tensor holds."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT32 = 2
    INT8 = 9


class Code(IntEnum):
    """Operators, by their numbers."""

    ADD = 0
    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    DEQUANTIZE = 6
    FULLY_CONNECTED = 9
    LOGISTIC = 14
    MUL = 18
    PAD = 34
    TRANSPOSE = 39
    MEAN = 40
    QUANTIZE = 114
    HARD_SWISH = 117


@dataclass(frozen=True, slots=True)
class Quantisation:
    """A number is `scale` times (the integer minus `zero_point`); one scale, or one for each slice of `dimension`."""

    scales: tuple[float, ...]
    zero_point: int = 0
    dimension: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor; `data` are the bytes of a constant one."""

    shape: tuple[int, ...]
    element: Element = Element.FLOAT32
    data: bytes | None = None
    quantisation: Quantisation | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """An operator's options: their number in the union of all, and (width in bytes, value) of each field in order."""

    kind: int
    fields: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of the given version that reads and writes tensors, by their index."""

    code: Code
    version: int
    inputs: tuple[int, ...]
    output: int
    options: Options | None = None


@dataclass
class TfliteFile:
    """What a file consists of; the graph reads its first tensor and gives its last operator's."""

    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)

    def add(self, tensor: Tensor) -> int:
        """Append `tensor`; its index."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def to_bytes(self) -> bytes:
        """The file."""
        import flatbuffers

        constants = sum(len(tensor.data or b"") for tensor in self.tensors)
        return _Writer(flatbuffers.Builder(constants + (1 << 16)), self).written()


class _Writer:
    """Flatbuffers are written from the leaves to the root; each method gives the offset of what it wrote."""

    def __init__(self, builder: "flatbuffers.Builder", file: TfliteFile) -> None:
        self._builder = builder
        self._builder.ForceDefaults(True)
        self._file = file
        self._codes = list(dict.fromkeys((one.code, one.version) for one in file.operators))

    def written(self) -> bytes:
        """The finished file."""
        # Buffer 0 is empty: that of tensors without data.
        constants = [b"", *(tensor.data for tensor in self._file.tensors if tensor.data is not None)]
        model = [
            ("Uint32", _VERSION),
            self._tables([self._code(code, version) for code, version in self._codes]),
            self._tables([self._graph()]),
            self._text("pocketnas"),
            self._tables([self._buffer(data) for data in constants]),
            None,
            None,
            self._tables([self._signature()]),
        ]
        self._builder.Finish(self._table(model), _IDENTIFIER)
        return bytes(self._builder.Output())

    def _graph(self) -> int:
        buffers = iter(range(1, len(self._file.tensors) + 1))
        tensors = [
            self._tensor(number, tensor, 0 if tensor.data is None else next(buffers))
            for number, tensor in enumerate(self._file.tensors)
        ]
        ends = self._ints([0]), self._ints([self._file.operators[-1].output])
        operators = [self._operator(one) for one in self._file.operators]
        return self._table([self._tables(tensors), *ends, self._tables(operators), self._text("main")])

    def _tensor(self, number: int, tensor: Tensor, buffer: int) -> int:
        quantisation = None
        if (found := tensor.quantisation) is not None:
            points = [found.zero_point] * len(found.scales)
            scales = self._vector("Float32", 4, found.scales), self._vector("Int64", 8, points)
            quantisation = self._offset(self._table([None, None, *scales, None, None, ("Int32", found.dimension)]))
        return self._table(
            [
                self._ints(tensor.shape),
                ("Int8", tensor.element),
                ("Uint32", buffer),
                self._text(f"t{number}"),
                quantisation,
                None,
                None,
                None,
                ("Bool", True),
            ]
        )

    def _operator(self, one: Operator) -> int:
        options, kind = None, 0
        if one.options is not None:
            names = {1: "Int8", 4: "Int32"}
            options = self._offset(self._table([(names[width], value) for width, value in one.options.fields]))
            kind = one.options.kind
        index = self._codes.index((one.code, one.version))
        ends = self._ints(one.inputs), self._ints([one.output])
        return self._table([("Uint32", index), *ends, ("Uint8", kind), options])

    def _code(self, code: Code, version: int) -> int:
        return self._table([("Int8", code), None, ("Int32", version), ("Int32", code)])

    def _buffer(self, data: bytes) -> int:
        if not data:
            return self._table([])
        self._builder.Prep(_ALIGNMENT, len(data))
        return self._table([self._offset(self._builder.CreateByteVector(data))])

    def _signature(self) -> int:
        ends = {"input": 0, "output": self._file.operators[-1].output}
        named = [self._table([self._text(name), ("Uint32", index)]) for name, index in ends.items()]
        return self._table(
            [self._tables(named[:1]), self._tables(named[1:]), self._text("serving_default"), None, ("Uint32", 0)]
        )

    def _table(self, fields: Sequence[tuple[str, Any] | None]) -> int:
        """A table with these fields in their order; None leaves one out."""
        self._builder.StartObject(len(fields))
        for slot, entry in enumerate(fields):
            if entry is not None:
                getattr(self._builder, f"Prepend{entry[0]}Slot")(slot, entry[1], 0)
        return int(self._builder.EndObject())

    def _offset(self, offset: int) -> tuple[str, int]:
        return ("UOffsetTRelative", offset)

    def _text(self, text: str) -> tuple[str, int]:
        return self._offset(self._builder.CreateString(text))

    def _ints(self, values: Sequence[int]) -> tuple[str, int]:
        return self._vector("Int32", 4, values)

    def _tables(self, offsets: Sequence[int]) -> tuple[str, int]:
        return self._vector("UOffsetTRelative", 4, offsets)

    def _vector(self, name: str, width: int, values: Sequence[float]) -> tuple[str, int]:
        self._builder.StartVector(width, len(values), width)
        for value in reversed(values):
            getattr(self._builder, f"Prepend{name}")(value)
        return self._offset(self._builder.EndVector())
