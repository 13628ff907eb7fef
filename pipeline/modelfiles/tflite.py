"""TFLite (LiteRT) files as graphs, read with the flatbuffers package that ONNX Runtime brings along."""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.modelfiles.cost import CostCounter, CostRules, filtered, input_shape, multiplied, output_shape
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.graph import Constant, Graph, Node, Shape


def _depthwise(graph: Graph, node: Node) -> int:
    """Each output value is a sum over one kernel: (1, height, width, channels)."""
    return math.prod(output_shape(graph, node)) * math.prod(input_shape(graph, node, 1)[1:3])


def _transposed(graph: Graph, node: Node) -> int:
    """Each input value (input 2) is spread over the filters: (outputs, height, width, inputs)."""
    return math.prod(input_shape(graph, node, 2)) * math.prod(input_shape(graph, node, 1)[:3])


# Of schema.fbs, BuiltinOperator: control flow, those that cost what is not known here, and all others.
_CONTROL: Final = {118: "IF", 119: "WHILE", 129: "CALL_ONCE"}
_UNKNOWN: Final = {27: "SVDF", 32: "CUSTOM", 35: "UNIDIRECTIONAL_SEQUENCE_RNN", 44: "UNIDIRECTIONAL_SEQUENCE_LSTM"}
_KNOWN: Final = {
    number: name
    for part in """
    0:ADD 1:AVERAGE_POOL_2D 2:CONCATENATION 3:CONV_2D 4:DEPTHWISE_CONV_2D 5:DEPTH_TO_SPACE 6:DEQUANTIZE 8:FLOOR
    9:FULLY_CONNECTED 11:L2_NORMALIZATION 14:LOGISTIC 17:MAX_POOL_2D 18:MUL 19:RELU 20:RELU_N1_TO_1 21:RELU6
    22:RESHAPE 23:RESIZE_BILINEAR 25:SOFTMAX 26:SPACE_TO_DEPTH 28:TANH 34:PAD 36:GATHER 37:BATCH_TO_SPACE_ND
    38:SPACE_TO_BATCH_ND 39:TRANSPOSE 40:MEAN 41:SUB 42:DIV 43:SQUEEZE 45:STRIDED_SLICE 47:EXP 48:TOPK_V2 49:SPLIT
    50:LOG_SOFTMAX 53:CAST 54:PRELU 55:MAXIMUM 56:ARG_MAX 57:MINIMUM 59:NEG 60:PADV2 65:SLICE 67:TRANSPOSE_CONV
    70:EXPAND_DIMS 74:SUM 75:SQRT 76:RSQRT 77:SHAPE 78:POW 82:REDUCE_MAX 83:PACK 88:UNPACK 92:SQUARE
    97:RESIZE_NEAREST_NEIGHBOR 98:LEAKY_RELU 99:SQUARED_DIFFERENCE 100:MIRROR_PAD 101:ABS 111:ELU 114:QUANTIZE
    117:HARD_SWISH 126:BATCH_MATMUL 130:BROADCAST_TO 150:GELU 152:RELU_0_TO_1
    """.split()  # noqa: SIM905  # readable as the table that it is
    for number, name in [(int(part.split(":")[0]), part.split(":")[1])]
}
_COUNTERS: Final[Mapping[str, CostCounter]] = {
    "CONV_2D": filtered(1),
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": filtered(1),
    "TRANSPOSE_CONV": _transposed,
    "BATCH_MATMUL": multiplied,
}
_FREE: Final = frozenset(_KNOWN.values()) - _COUNTERS.keys()
_NAMES: Final = _KNOWN | _UNKNOWN | _CONTROL
# Shapes, axes and paddings follow the data; INT32 is also the kind of a quantised bias.
_WITH_SETTINGS: Final = (
    "RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR PAD PADV2 MEAN SUM REDUCE_MAX TRANSPOSE STRIDED_SLICE SLICE "
    "GATHER EXPAND_DIMS TOPK_V2 ARG_MAX MIRROR_PAD BROADCAST_TO BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND"
)
_SETTINGS: Final = dict.fromkeys(_WITH_SETTINGS.split(), frozenset({1, 2, 3})) | {
    "TRANSPOSE_CONV": frozenset({0}),
    "SPLIT": frozenset({0}),
}
TFLITE_RULES: Final = CostRules(_COUNTERS, _FREE, _SETTINGS, frozenset({"INT64", "BOOL", "STRING"}))
_KINDS: Final = ("FLOAT32", "FLOAT16", "INT32", "UINT8", "INT64", "STRING", "BOOL", "INT16", "COMPLEX64", "INT8")


def read_flatbuffer(path: Path) -> Graph:
    """The first subgraph, for one image, the others as bodies of its control flow.

    Raises ModelFileError where the file is no TFLite model.
    """
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ModelFileError(f"{path} is no TFLite model")
    try:
        return _graph(_Table(data, int.from_bytes(data[:4], "little")))
    except (IndexError, ValueError, TypeError, struct.error) as error:
        raise ModelFileError(f"{path} is no TFLite model: it is cut off or foreign ({type(error).__name__})") from None


def _graph(model: "_Table") -> Graph:
    operators = [_operator_name(code) for code in model.tables(1)]
    filled = [bool(buffer.length(0)) or buffer.number(1, 8) > 1 for buffer in model.tables(4)]
    main, *others = model.tables(2)
    bodies = tuple(_subgraph(other, operators, filled, ()) for other in others)
    return _subgraph(main, operators, filled, bodies)


def _subgraph(subgraph: "_Table", operators: list[str], filled: list[bool], bodies: tuple[Graph, ...]) -> Graph:
    shapes: dict[str, Shape] = {}
    constants: dict[str, Constant] = {}
    for index, tensor in enumerate(subgraph.tables(0)):
        shape = tuple(tensor.numbers(0))
        shapes[str(index)] = tuple(size if size > 0 else 1 if place == 0 else None for place, size in enumerate(shape))
        if filled[tensor.number(2, 4)]:
            kind = tensor.number(1, 1)
            constants[str(index)] = Constant(shape, _KINDS[kind] if kind < len(_KINDS) else str(kind), None)
    nodes = tuple(
        Node(
            operators[operation.number(0, 4)],
            str(number),
            tuple(map(str, operation.numbers(1))),
            tuple(map(str, operation.numbers(2))),
            {},
            bodies if operators[operation.number(0, 4)] in _CONTROL.values() else (),
        )
        for number, operation in enumerate(subgraph.tables(3))
    )
    return Graph(nodes, shapes, constants, (), ())


def _operator_name(code: "_Table") -> str:
    # Codes above 127 stand in the newer field; the older one then holds 127.
    number = max(code.number(0, 1), code.number(3, 4))
    name = _NAMES.get(number, f"builtin operator {number}")
    return f"CUSTOM {code.text(1)}" if name == "CUSTOM" else name


class _Table:
    """A flatbuffers table whose fields are asked by number. Asking a torn one raises an error of Python's own."""

    def __init__(self, data: bytes, position: int) -> None:
        from flatbuffers.table import Table  # type: ignore[import-untyped]

        self._data = data
        self._table: Any = Table(data, position)

    def _offset(self, field: int) -> int:
        return int(self._table.Offset(4 + 2 * field))

    def number(self, field: int, width: int) -> int:
        """A whole number of `width` bytes, 0 where it is left out."""
        offset = self._offset(field)
        start = self._table.Pos + offset
        return int.from_bytes(self._data[start : start + width], "little", signed=True) if offset else 0

    def text(self, field: int) -> str:
        """A string, "" where it is left out."""
        offset = self._offset(field)
        return bytes(self._table.String(offset + self._table.Pos)).decode("utf-8", "replace") if offset else ""

    def length(self, field: int) -> int:
        """How many elements a vector has."""
        offset = self._offset(field)
        return int(self._table.VectorLen(offset)) if offset else 0

    def numbers(self, field: int) -> list[int]:
        """A vector of 32-bit whole numbers."""
        offset = self._offset(field)
        start = self._table.Vector(offset) if offset else 0
        data = (self._data[start + 4 * index : start + 4 * index + 4] for index in range(self.length(field)))
        return [int.from_bytes(part, "little", signed=True) for part in data]

    def tables(self, field: int) -> list["_Table"]:
        """A vector of tables."""
        offset = self._offset(field)
        start = self._table.Vector(offset) if offset else 0
        return [_Table(self._data, int(self._table.Indirect(start + 4 * index))) for index in range(self.length(field))]
