"""Core ML packages as graphs, read without coremltools: the ML program inside (MIL.proto) and its weights' shapes."""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.modelfiles import wire
from pipeline.modelfiles.cost import (
    CostCounter,
    CostRules,
    Uncountable,
    filtered,
    input_shape,
    multiplied,
    output_shape,
    require_same,
)
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.graph import Constant, Graph, Node, Shape
from pipeline.modelfiles.inputs import fixed_shape, require_known
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


def _recurrent(graph: Graph, node: Node) -> int:
    """Each step of each sequence, (steps, batch, features), multiplies with every matrix once."""
    steps, batch, _ = input_shape(graph, node, 0)
    matrices = (math.prod(input_shape(graph, node, index)) for index in range(4, 8) if node.inputs[index])
    return steps * batch * sum(matrices)


def _convolved(graph: Graph, node: Node) -> int:
    """Weights of (outputs, inputs / groups, kernel…)."""
    source, filters = input_shape(graph, node, 0), input_shape(graph, node, 1)
    require_same(node, "ranks", len(source), len(filters), len(output_shape(graph, node)))
    if not filters[1] or source[1] % filters[1]:
        require_same(node, "channels", source[1], filters[1])
    return filtered(1)(graph, node)


def _transposed(graph: Graph, node: Node) -> int:
    """Each input value is spread over one filter: (inputs, outputs / groups, kernel…)."""
    source, filters = input_shape(graph, node, 0), input_shape(graph, node, 1)
    require_same(node, "channels", source[1], filters[0])
    return math.prod(source) * math.prod(filters[1:])


def _product(graph: Graph, node: Node) -> int:
    if None in (node.attributes["transpose_x"], node.attributes["transpose_y"]):
        raise Uncountable(" of computed transposition")
    return multiplied(0, 3, "transpose_x", "transpose_y")(graph, node)


_COUNTERS: Final[Mapping[str, CostCounter]] = {
    "conv": _convolved,
    "conv_quantized": _convolved,
    "conv_transpose": _transposed,
    "gru": _recurrent,
    "linear": filtered(1),
    "lstm": _recurrent,
    "matmul": _product,
    "rnn": _recurrent,
}
_FREE: Final = frozenset(
    """
    abs acos add argsort asin atan atanh avg_pool band_part batch_norm batch_to_space cast ceil clamped_relu classify
    clip concat const constexpr_affine_dequantize constexpr_blockwise_shift_scale constexpr_cast
    constexpr_lut_to_dense constexpr_lut_to_sparse constexpr_sparse_blockwise_shift_scale
    constexpr_sparse_to_dense cos cosh crop crop_resize cumsum depth_to_space dequantize elu equal erf exp exp2
    expand_dims fill fill_like flatten2d floor floor_div gather gather_along_axis gather_nd gelu greater greater_equal
    identity instance_norm inverse l2_norm l2_pool layer_norm leaky_relu less less_equal linear_activation
    local_response_norm log logical_and logical_not logical_or logical_xor max_pool maximum minimum mod mul non_zero
    non_maximum_suppression not_equal one_hot pad pixel_shuffle pixel_unshuffle pow prelu quantize range_1d real_div
    reduce_argmax reduce_argmin reduce_l1_norm reduce_l2_norm reduce_log_sum reduce_log_sum_exp reduce_max reduce_mean
    reduce_min reduce_prod reduce_sum reduce_sum_square relu relu6 resample reshape reshape_like resize resize_bilinear
    resize_nearest_neighbor reverse reverse_sequence round rsqrt scaled_tanh scatter scatter_along_axis scatter_nd
    select shape sigmoid sigmoid_hard sign silu sin sinh slice_by_index slice_by_size slice_update sliding_windows
    softmax softplus softplus_parametric softsign space_to_batch space_to_depth split sqrt square squeeze stack sub tan
    tanh threshold thresholded_relu tile topk transpose upsample_bilinear upsample_nearest_neighbor
    """.split()  # noqa: SIM905  # a name a line would be 130 lines
)
MIL_RULES: Final = CostRules(_COUNTERS, _FREE, {}, frozenset({"other"}))


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
        shapes = {name: fixed_shape(name, shape, input_shapes.get(name)) or () for name, shape in declared.items()}
        graph = self._block(block, shapes, {}, {}, 0)
        return Graph(graph.nodes, graph.shapes, graph.constants, tuple(declared), tuple(_texts(block, 2)))

    def _block(
        self,
        block: Fields,
        shapes: Mapping[str, Shape],
        constants: Mapping[str, Constant],
        flags: Mapping[str, bool],
        depth: int,
    ) -> Graph:
        """The operations of a block, which sees everything around it."""
        if depth > _DEEPEST:
            raise ModelFileError(f"blocks lie more than {_DEEPEST} deep inside each other")
        shapes = dict(shapes) | {wire.text(value, 1): _type(value)[1] for value in wire.messages(block, 1)}
        constants, flags, nodes = dict(constants), dict(flags), []
        for operation in wire.messages(block, 3):
            operator, outputs = wire.text(operation, 1), wire.messages(operation, 3)
            names = tuple(wire.text(output, 1) for output in outputs)
            for name, output in zip(names, outputs, strict=True):
                kind, shape = _type(output)
                shapes[name] = shape
                if operator == "const" or operator.startswith("constexpr_"):
                    constants[name] = Constant(tuple(size or 0 for size in shape), kind, None)
            for value in wire.entries(operation, 5).values():
                self._require_stored(value)
            if operator == "const":
                flags.update(dict.fromkeys(names, _flag(wire.entries(operation, 5).get("val", {}))))
                continue
            bodies = tuple(
                self._block(inner, shapes, constants, flags, depth + 1) for inner in wire.messages(operation, 4)
            )
            bound = {}
            for name, binding in _bindings(operation):
                # A value in the place of a tensor's name gets a name of its own.
                bound[name] = wire.text(binding, 1) or f"{next(iter(names), operator)} {name}"
                if value := wire.message(binding, 2):
                    kind, shape = _type(value)
                    constants[bound[name]] = Constant(tuple(size or 0 for size in shape), kind, None)
                    flags[bound[name]] = _flag(value)
                    self._require_stored(value)
            attributes = {
                name: flags.get(bound[name]) if name in bound else False for name in ("transpose_x", "transpose_y")
            }
            first = next(iter(names), "")
            inputs = () if operator.startswith("constexpr_") else _inputs(bound)
            exclusive = operator == "cond"
            nodes.append(Node(operator, first, inputs, names, attributes, bodies, exclusive, 1 if exclusive else None))
        return Graph(tuple(nodes), shapes, constants, (), ())

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


def _flag(value: Fields) -> bool:
    """Whether a value is the single `true`."""
    packed = wire.message(wire.message(wire.message(value, 3), 1), 3).get(1, [])
    return any(one not in (0, b"", b"\0") for one in packed)


def _bindings(operation: Fields) -> Iterator[tuple[str, Fields]]:
    """What each input of an operation is bound to, the first of several."""
    for name, argument in wire.entries(operation, 2).items():
        for binding in wire.messages(argument, 1)[:1]:
            yield name, binding


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
