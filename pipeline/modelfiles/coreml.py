"""Core ML packages as graphs, read without coremltools: the ML program inside (MIL.proto) and its weights' shapes."""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.modelfiles import wire
from pipeline.modelfiles.coreml_rules import Given
from pipeline.modelfiles.coreml_shapes import follow
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.followed import Known
from pipeline.modelfiles.graph import Constant, Graph, Node, Shape
from pipeline.modelfiles.inputs import fixed_shape, require_known
from pipeline.modelfiles.mil_values import plain_value
from pipeline.modelfiles.stored import beside, read_file
from pipeline.modelfiles.wire import Fields

_LARGEST: Final = 2_147_483_647
_DEEPEST: Final = 20
_ML_PROGRAM: Final = 502
_KINDS: Final = {10: "float16", 11: "float32", 12: "float64", 13: "bfloat16"}
_BITS: Final = {
    1: 8, 10: 16, 11: 32, 12: 64, 13: 16, 21: 8, 22: 16, 23: 32, 24: 64, 25: 4, 31: 8, 32: 16, 33: 32, 34: 64,
    35: 4, 36: 2, 37: 1, 38: 6, 39: 3, 40: 8, 41: 8,
}  # fmt: skip
# In this order, then all others but these, which are no tensors that were learned.
_TENSOR_INPUTS: Final = ("x", "weight", "bias", "y", "weight_ih", "weight_hh", "weight_ih_back", "weight_hh_back")
_SETTINGS: Final = frozenset({"mean", "variance", "scale", "zero_point", "initial_h", "initial_c", "clip"})
_BLOB_HEADER: Final = struct.Struct("<IIQQ")  # sentinel, kind, bytes, offset
_BLOB_SENTINEL: Final = 0xDEADBEEF


def read_program(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph | None:
    """The main function of the ML program in a package or file; None where there is no ML program in it.

    Raises ModelFileError for something that is no Core ML model or less than it declares, for an input name that it
    does not have, and for shapes that contradict it.
    """
    specification = _specification(path)
    try:
        model = wire.fields(read_file(specification, _LARGEST))
        if _ML_PROGRAM not in model:
            if not any(200 <= number < 4000 for number in model):
                raise ModelFileError(f"{path} is no Core ML model")
            return None
        functions = wire.entries(wire.message(model, _ML_PROGRAM), 2)
        function = functions.get("main") or next(iter(functions.values()), {})
        block = next(iter(wire.entries(function, 3).values()), {})
        return _Program(specification.parent).read(function, block, input_shapes or {})
    except wire.WireError as error:
        raise ModelFileError(f"{path} is no Core ML model: {error}") from None


def _specification(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(file for file in path.rglob("*.mlmodel") if file.is_file())
    if not found:
        raise ModelFileError(f"{path} is no Core ML package: there is no .mlmodel in it")
    return found[0]


@dataclass(frozen=True)
class _Program:
    """Reads one program; `folder` is what `@model_path` means in it."""

    folder: Path

    def read(self, function: Fields, block: Fields, input_shapes: Mapping[str, tuple[int, ...]]) -> Graph:
        declared = {wire.text(value, 1): _type(value)[1] for value in wire.messages(function, 1)}
        require_known(input_shapes, list(declared))
        known = {name: Known(fixed_shape(name, shape, input_shapes.get(name))) for name, shape in declared.items()}
        graph = self._block(block, known, {}, 0)
        return Graph(graph.nodes, graph.shapes, graph.constants, tuple(declared), tuple(_texts(block, 2)))

    def _block(self, block: Fields, known: Mapping[str, Known], constants: Mapping[str, Constant], depth: int) -> Graph:
        """The operations of a block, which sees everything around it."""
        if depth > _DEEPEST:
            raise ModelFileError(f"blocks lie more than {_DEEPEST} deep inside each other")
        known, constants, nodes = dict(known), dict(constants), []
        known.update({wire.text(value, 1): Known(_type(value)[1]) for value in wire.messages(block, 1)})
        for operation in wire.messages(block, 3):
            operator, outputs = wire.text(operation, 1), wire.messages(operation, 3)
            names = tuple(wire.text(output, 1) for output in outputs)
            attributes = wire.entries(operation, 5)
            for name, output in zip(names, outputs, strict=True):
                kind, shape = _type(output)
                known[name] = Known(shape)
                if operator == "const" or operator.startswith("constexpr_"):
                    constants[name] = Constant(tuple(size or 0 for size in shape), kind, None)
            for value in attributes.values():
                self._require_stored(value)
            if operator == "const":
                known.update({name: Known(known[name].shape, plain_value(attributes.get("val", {}))) for name in names})
                continue
            bodies = tuple(self._block(inner, known, constants, depth + 1) for inner in wire.messages(operation, 4))
            bound = self._bound(operation, next(iter(names), operator), known, constants)
            given = Given({name: [known.get(one, Known()) for one in ones] for name, ones in bound.items()})
            _enter(names, follow(operator, given) if not operator.startswith("constexpr_") else [], known)
            first = {name: ones[0] for name, ones in bound.items() if ones}
            flags = {name: _flag(given, name) for name in ("transpose_x", "transpose_y")}
            inputs = () if operator.startswith("constexpr_") else _inputs(first)
            exclusive = operator == "cond"
            called = next(iter(names), "")
            nodes.append(Node(operator, called, inputs, names, flags, bodies, exclusive, 1 if exclusive else None))
        shapes = {name: one.shape for name, one in known.items() if one.shape is not None}
        return Graph(tuple(nodes), shapes, constants, (), ())

    def _bound(
        self, operation: Fields, called: str, known: dict[str, Known], constants: dict[str, Constant]
    ) -> dict[str, list[str]]:
        """The tensors that each input of an operation is bound to; a value in place of a name gets a name."""
        bound: dict[str, list[str]] = {}
        for name, argument in wire.entries(operation, 2).items():
            bound[name] = []
            for place, binding in enumerate(wire.messages(argument, 1)):
                one = wire.text(binding, 1) or f"{called} {name} {place}"
                bound[name].append(one)
                if value := wire.message(binding, 2):
                    kind, shape = _type(value)
                    constants[one] = Constant(tuple(size or 0 for size in shape), kind, None)
                    known[one] = Known(shape, plain_value(value))
                    self._require_stored(value)
        return bound

    def _require_stored(self, value: Fields) -> None:
        """ModelFileError unless a value's weights, where they are in a file, are there as long as declared."""
        blob = wire.message(value, 5)
        if not blob:
            return
        name, offset = wire.text(blob, 1).removeprefix("@model_path/"), wire.integer(blob, 2)
        file = beside(self.folder, name)
        tensor = wire.message(wire.message(value, 2), 1)
        needed = -(-math.prod(size or 0 for size in _sizes(tensor)) * _BITS.get(wire.integer(tensor, 1), 0) // 8)
        with file.open("rb") as stream:
            length = file.stat().st_size
            stream.seek(min(offset, length))
            header = stream.read(_BLOB_HEADER.size)
        if len(header) < _BLOB_HEADER.size or _BLOB_HEADER.unpack(header)[0] != _BLOB_SENTINEL:
            raise ModelFileError(f"weights file {file} has no weights at {offset:,}, where the model expects some")
        _, _, stored, begin = _BLOB_HEADER.unpack(header)
        if stored < needed or begin + stored > length:
            raise ModelFileError(
                f"weights file {file} has {max(0, min(stored, length - begin)):,} bytes at {begin:,}, where the model "
                f"declares {needed:,}"
            )


def _enter(names: Sequence[str], found: Sequence[Known], known: dict[str, Known]) -> None:
    """What was found of results where the file leaves their shapes open, and values of those that have few."""
    for name, one in zip(names, found, strict=False):
        shape = known[name].shape
        if shape is None or None in shape or one.shape == shape:
            known[name] = one


def _flag(given: Given, name: str) -> bool | None:
    """Whether an input is true; None where that is computed."""
    if name not in given.tensors:
        return False
    value = given.tensors[name][0].values if given.tensors[name] else None
    return None if value is None or isinstance(value, str) else bool(value.any())


def _inputs(bound: Mapping[str, str]) -> tuple[str, ...]:
    """The tensors read, weights in their places. What a constexpr unpacks is not counted beside its result."""
    others = sorted(bound.keys() - _SETTINGS - {*_TENSOR_INPUTS})
    return tuple(bound.get(name, "") for name in (*_TENSOR_INPUTS, *others))


def _type(named_value: Fields) -> tuple[str, Shape]:
    tensor = wire.message(wire.message(named_value, 2), 1)
    return _KINDS.get(wire.integer(tensor, 1), "other"), _sizes(tensor)


def _sizes(tensor: Fields) -> Shape:
    dimensions: list[int | None] = []
    for dimension in wire.messages(tensor, 3):
        known = wire.message(dimension, 1)
        size = wire.integer(known, 1) if known else 0
        dimensions.append(size if known and 0 <= size < 1 << 63 else None)
    return tuple(dimensions)


def _texts(of: Fields, number: int) -> Iterator[str]:
    for value in of.get(number, []):
        if isinstance(value, bytes):
            yield value.decode("utf-8", "replace")
