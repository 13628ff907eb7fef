"""Core ML packages as graphs, read without coremltools: the ML program inside (MIL.proto) and its weights' shapes."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.modelfiles import wire
from pipeline.modelfiles.cost import CostCounter, CostRules, filtered, input_shape, multiplied, transposed
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.graph import Constant, Graph, Node, Shape
from pipeline.modelfiles.wire import Fields

_ML_PROGRAM: Final = 502
_KINDS: Final = {10: "float16", 11: "float32", 12: "float64", 13: "bfloat16"}
# In this order, then all others but these, which are no tensors that were learned.
_TENSOR_INPUTS: Final = ("x", "weight", "bias", "y", "weight_ih", "weight_hh", "weight_ih_back", "weight_hh_back")
_SETTINGS: Final = frozenset({"mean", "variance", "scale", "zero_point", "initial_h", "initial_c", "clip"})


def _recurrent(graph: Graph, node: Node) -> int:
    """Each step of each sequence, (steps, batch, features), multiplies with every matrix once."""
    steps, batch, _ = input_shape(graph, node, 0)
    matrices = (math.prod(input_shape(graph, node, index)) for index in range(4, 8) if node.inputs[index])
    return steps * batch * sum(matrices)


_COUNTERS: Final[Mapping[str, CostCounter]] = {
    "conv": filtered(1),
    "conv_quantized": filtered(1),
    "conv_transpose": transposed,
    "gru": _recurrent,
    "linear": filtered(1),
    "lstm": _recurrent,
    "matmul": multiplied,
    "rnn": _recurrent,
}
_FREE: Final = frozenset(
    """
    abs acos add argsort asin atan atanh avg_pool band_part batch_norm batch_to_space cast ceil clamped_relu classify
    clip concat const constexpr_affine_dequantize constexpr_blockwise_shift_scale constexpr_cast
    constexpr_lut_to_dense constexpr_lut_to_sparse constexpr_sparse_blockwise_shift_scale
    constexpr_sparse_to_dense cos cosh crop cumsum depth_to_space dequantize elu equal erf exp exp2 expand_dims fill
    fill_like flatten2d floor floor_div gather gather_along_axis gather_nd gelu greater greater_equal identity
    instance_norm inverse l2_norm l2_pool layer_norm leaky_relu less less_equal linear_activation
    local_response_norm log logical_and logical_not logical_or logical_xor max_pool maximum minimum mod mul non_zero
    not_equal one_hot pad pixel_shuffle pixel_unshuffle pow prelu quantize range_1d real_div reduce_argmax
    reduce_argmin reduce_l1_norm reduce_l2_norm reduce_log_sum reduce_log_sum_exp reduce_max reduce_mean reduce_min
    reduce_prod reduce_sum reduce_sum_square relu relu6 reshape reshape_like resize_nearest_neighbor reverse round
    rsqrt scaled_tanh scatter select shape sigmoid sigmoid_hard sign silu sin sinh slice_by_index slice_by_size
    slice_update softmax softplus softplus_parametric softsign space_to_batch space_to_depth split sqrt square
    squeeze stack sub tan tanh threshold thresholded_relu tile topk transpose upsample_nearest_neighbor
    """.split()  # noqa: SIM905  # a name a line would be 110 lines
)
MIL_RULES: Final = CostRules(_COUNTERS, _FREE, {}, frozenset({"other"}))


def read_program(path: Path) -> Graph | None:
    """The main function of the ML program in a package or file; None where there is no ML program in it.

    Raises ModelFileError for something that is no Core ML model.
    """
    try:
        model = wire.fields(_specification(path).read_bytes())
        if _ML_PROGRAM not in model:
            if not any(200 <= number < 4000 for number in model):
                raise ModelFileError(f"{path} is no Core ML model")
            return None
        functions = wire.entries(wire.message(model, _ML_PROGRAM), 2)
        function = functions.get("main") or next(iter(functions.values()), {})
        block = next(iter(wire.entries(function, 3).values()), {})
        return _graph(function, block)
    except wire.WireError as error:
        raise ModelFileError(f"{path} is no Core ML model: {error}") from None


def _specification(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.rglob("*.mlmodel"))
    if not found:
        raise ModelFileError(f"{path} is no Core ML package: there is no .mlmodel in it")
    return found[0]


def _graph(function: Fields, block: Fields) -> Graph:
    shapes = {wire.text(value, 1): _type(value)[1] for value in wire.messages(function, 1)}
    return _block(block, shapes, {})


def _block(block: Fields, shapes: Mapping[str, Shape], constants: Mapping[str, Constant]) -> Graph:
    """The operations of a block, which sees everything around it."""
    shapes = dict(shapes) | {wire.text(value, 1): _type(value)[1] for value in wire.messages(block, 1)}
    constants, nodes = dict(constants), []
    for operation in wire.messages(block, 3):
        operator, outputs = wire.text(operation, 1), wire.messages(operation, 3)
        names = tuple(wire.text(output, 1) for output in outputs)
        for name, output in zip(names, outputs, strict=True):
            kind, shapes[name] = _type(output)
            if operator == "const" or operator.startswith("constexpr_"):
                sizes = tuple(size or 0 for size in shapes[name])
                constants[name] = Constant(sizes, kind, None)
        if operator != "const":
            bodies = tuple(_block(inner, shapes, constants) for inner in wire.messages(operation, 4))
            nodes.append(Node(operator, next(iter(names), ""), _inputs(operator, operation), names, {}, bodies))
    return Graph(tuple(nodes), shapes, constants, (), ())


def _inputs(operator: str, operation: Fields) -> tuple[str, ...]:
    """The tensors read, weights in their places. What a constexpr unpacks is not counted beside its result."""
    if operator.startswith("constexpr_"):
        return ()
    named = {
        name: wire.text(binding, 1)
        for name, argument in wire.entries(operation, 2).items()
        for binding in wire.messages(argument, 1)[:1]
    }
    others = sorted(named.keys() - _SETTINGS - {*_TENSOR_INPUTS})
    return tuple(named.get(name, "") for name in (*_TENSOR_INPUTS, *others))


def _type(named_value: Fields) -> tuple[str, Shape]:
    tensor = wire.message(wire.message(named_value, 2), 1)
    dimensions: list[int | None] = []
    for dimension in wire.messages(tensor, 3):
        known = wire.message(dimension, 1)
        dimensions.append(wire.integer(known, 1) if known else None)
    return _KINDS.get(wire.integer(tensor, 1), "other"), tuple(dimensions)
