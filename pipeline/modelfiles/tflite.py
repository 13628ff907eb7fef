"""TFLite (LiteRT) files as graphs, for one image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.flat import Table
from pipeline.modelfiles.followed import Known
from pipeline.modelfiles.graph import Constant, Graph, Node, Shape
from pipeline.modelfiles.inputs import fixed_shape, require_known
from pipeline.modelfiles.stored import read_file
from pipeline.modelfiles.tflite_operators import BYTES, DEFAULTS, KINDS, NAMES, OPTIONS, SUBGRAPHS
from pipeline.modelfiles.tflite_shapes import follow

_LARGEST: Final = 2_147_483_647
_FEW: Final = 1024  # values up to which a constant may tell a shape
_DEEPEST: Final = 20
_MOST_GRAPHS: Final = 2000
_NUMPY: Final = {
    "INT32": "<i4",
    "INT64": "<i8",
    "FLOAT32": "<f4",
    "UINT8": "u1",
    "INT8": "i1",
    "BOOL": "?",
    "INT16": "<i2",
}


def read_flatbuffer(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """The main graph for one image: an open first size is 1, others are taken from `input_shapes` (by name).

    Raises ModelFileError where the file is no TFLite model or less than it declares, for an input name that it does
    not have, and for shapes that contradict it.
    """
    data = read_file(path, _LARGEST)
    if data[4:8] != b"TFL3":
        raise ModelFileError(f"{path} is no TFLite model")
    try:
        model = _Model(data, Table(data, int.from_bytes(data[:4], "little")))
        return model.graph(0, input_shapes or {})
    except ModelFileError as error:
        if str(error).startswith("it is"):
            raise ModelFileError(f"{path} is no TFLite model: {error}") from None
        raise


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor as the file declares it; `shape` has None for what it leaves open."""

    name: str
    kind: str
    shape: Shape | None
    constant: Constant | None
    values: Any


class _Model:
    """The graphs of one file."""

    def __init__(self, data: bytes, table: Table) -> None:
        self._data = data
        self._operators = [_operator_name(code) for code in table.tables(1)]
        self._subgraphs = list(table.tables(2))
        self._buffers = list(table.tables(4))
        self._graphs = 0
        if not self._subgraphs:
            raise ModelFileError("it is cut off or foreign (there is no graph in it)")

    def graph(
        self,
        number: int,
        input_shapes: Mapping[str, tuple[int, ...]],
        given: Sequence[Known] | None = None,
        depth: int = 0,
    ) -> Graph:
        """A graph with the shapes of its tensors, as `follow` finds them where the file leaves them open.

        `given` is what an operator that runs this graph gives it, where that is the same each time.
        """
        self._graphs += 1
        if depth > _DEEPEST or self._graphs > _MOST_GRAPHS:
            raise ModelFileError(f"graphs run each other more than {_DEEPEST} deep or {_MOST_GRAPHS} times")
        subgraph = self._subgraphs[number] if 0 <= number < len(self._subgraphs) else None
        if subgraph is None:
            raise ModelFileError("it is cut off or foreign (an operator runs a graph that is not there)")
        tensors = [self._tensor(tensor) for tensor in subgraph.tables(0)]
        inputs = [index for index in subgraph.numbers(1) if 0 <= index < len(tensors)]
        known = [Known(t.shape if t.constant is None else t.constant.shape, t.values) for t in tensors]
        if depth == 0:
            require_known(input_shapes, [tensors[index].name for index in inputs])
            for index in inputs:
                name = tensors[index].name
                shape = tensors[index].shape
                declared = None if shape is None else tuple(size or None for size in shape)
                known[index] = Known(fixed_shape(name, declared, input_shapes.get(name)))
        elif given is not None:
            for index, one in zip(inputs, given, strict=False):
                known[index] = one
        nodes = [self._node(operation, str(place), known, depth) for place, operation in enumerate(subgraph.tables(3))]
        return Graph(
            nodes=tuple(nodes),
            shapes={str(index): one.shape for index, one in enumerate(known) if one.shape is not None},
            constants={str(index): t.constant for index, t in enumerate(tensors) if t.constant is not None},
            inputs=tuple(str(index) for index in inputs),
            outputs=tuple(map(str, subgraph.numbers(2))),
            metadata={str(index): tensors[index].name for index in inputs},
        )

    def _tensor(self, tensor: Table) -> _Tensor:
        kind_number = tensor.number(1, 1)
        kind = KINDS[kind_number] if 0 <= kind_number < len(KINDS) else f"kind {kind_number}"
        stored, signature = tensor.numbers(0), tensor.numbers(7)
        name = tensor.text(3)
        constant = self._constant(tensor, kind, stored, name)
        if constant is not None:
            return _Tensor(name, kind, stored, constant, self._values(tensor, kind, constant))
        declared = signature if len(signature) == len(stored) else stored
        # A variable without a rank has no sizes; a number has none either, but says so.
        unknown = not stored and not tensor.number(8, 1)
        shape = None if unknown else tuple(size if size >= 0 else None for size in declared)
        if stored and 0 in stored and kind in _NUMPY and shape == stored:  # a constant of no numbers has no buffer
            import numpy as np

            return _Tensor(name, kind, shape, None, np.zeros(stored, _NUMPY[kind]))
        return _Tensor(name, kind, shape, None, None)

    def _content(self, tensor: Table) -> memoryview:
        index = tensor.number(2)
        if not 0 <= index < len(self._buffers):
            raise ModelFileError("it is cut off or foreign (a tensor's buffer is not there)")
        buffer = self._buffers[index]
        begin, length = buffer.number(1, 8), buffer.number(2, 8)
        if begin <= 1:
            return buffer.bytes(0)
        if length < 0 or begin + length > len(self._data):
            raise ModelFileError("it is cut off or foreign (weights lie behind its end)")
        return memoryview(self._data)[begin : begin + length]

    def _constant(self, tensor: Table, kind: str, shape: tuple[int, ...], name: str) -> Constant | None:
        stored = len(self._content(tensor))
        if not stored:
            return None
        if any(size < 0 for size in shape):
            raise ModelFileError(f"{name!r} has the shape {list(shape)}; no size of weights may be negative")
        width = BYTES.get(kind)
        if width is None:
            return Constant(shape, kind, None)
        if tensor.table(6) is not None:  # sparse: what is stored are the values that are not zero
            return Constant(shape, kind, None, stored // width)
        if stored < math.prod(shape) * width:
            raise ModelFileError(
                f"{name!r} has {stored:,} bytes of weights, "
                f"but its shape {list(shape)} needs {math.prod(shape) * width:,}"
            )
        return Constant(shape, kind, None)

    def _values(self, tensor: Table, kind: str, constant: Constant) -> Any:
        import numpy as np

        if kind not in _NUMPY or constant.elements > _FEW or constant.stored is not None:
            return None
        content = self._content(tensor)[: constant.elements * BYTES[kind]]
        return np.frombuffer(content, _NUMPY[kind]).reshape(constant.shape)

    def _node(self, operation: Table, name: str, known: list[Known], depth: int) -> Node:
        code = operation.number(0)
        if not 0 <= code < len(self._operators):
            raise ModelFileError("it is cut off or foreign (an operator's code is not there)")
        operator = self._operators[code]
        options = operation.table(12 if operator.startswith("STABLEHLO") else 4)
        values = _options(operator, options)
        inputs, outputs = operation.numbers(1), operation.numbers(2)
        if any(not -1 <= index < len(known) for index in (*inputs, *outputs)):
            raise ModelFileError("it is cut off or foreign (an operator reads a tensor that is not there)")
        given = [known[index] if index >= 0 else Known() for index in inputs]
        if any(index >= 0 and _open(known[index].shape) for index in outputs):
            for index, found in zip(outputs, follow(operator, given, values, len(outputs)), strict=True):
                if index >= 0 and _open(known[index].shape):
                    known[index] = found if found.shape is not None else Known()
        else:
            self._note_values(operator, given, values, outputs, known)
        fields = SUBGRAPHS.get(operator, ())
        numbers = [options.number(field) if options is not None else 0 for field in fields]
        passed = None if operator == "WHILE" else given[1:] if operator == "IF" else given
        bodies = tuple(self.graph(number, {}, passed, depth + 1) for number in numbers)
        repeats = None if operator == "WHILE" else 1
        # An input that is left out keeps its place.
        names = tuple("" if index < 0 else str(index) for index in inputs)
        return Node(operator, name, names, tuple(map(str, outputs)), values, bodies, operator == "IF", repeats)

    def _note_values(
        self,
        operator: str,
        given: Sequence[Known],
        values: Mapping[str, Any],
        outputs: Sequence[int],
        known: list[Known],
    ) -> None:
        """Values of small tensors whose shape the file tells: a Shape's, and what is computed from it."""
        if len(outputs) != 1 or outputs[0] < 0 or len(known[outputs[0]].shape or ()) > 1:
            return
        (found,) = follow(operator, given, values, 1)
        if found.values is not None and found.shape == known[outputs[0]].shape:
            known[outputs[0]] = found


def _open(shape: Shape | None) -> bool:
    return shape is None or None in shape


def _options(operator: str, table: Table | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field, width in OPTIONS.get(operator, ()):
        if width <= 0:
            found[name] = () if table is None else table.numbers(field, 8 if width < 0 else 4)
        else:
            default = DEFAULTS.get(name, 0)
            found[name] = default if table is None else table.number(field, width, default)
    return found


def _operator_name(code: Table) -> str:
    # Codes above 127 stand in the newer field; the older one then holds 127.
    number = max(code.number(0, 1), code.number(3, 4))
    name = NAMES[number] if 0 <= number < len(NAMES) else f"builtin operator {number}"
    return f"CUSTOM {code.text(1)}" if name == "CUSTOM" else name
