"""TFLite's operators by number, what they cost, and the options that shapes and costs depend on.

Numbers, fields and their order are those of schema.fbs, version 3 (TensorFlow 2.18).
"""

import math
from collections.abc import Mapping
from typing import Final

from pipeline.modelfiles.cost import (
    CostCounter,
    CostRules,
    filtered,
    has_input,
    input_shape,
    multiplied,
    output_shape,
    require_same,
)
from pipeline.modelfiles.graph import Graph, Node

NAMES: Final = tuple(
    """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION
    LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
    CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
    BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
    ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE
    TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK
    LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD
    RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N
    GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
    PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE
    HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
    ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU
    DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
    UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE
    STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
    STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE
    STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM
    STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT
    STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE
    STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW
    STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR
    REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT
    """.split()  # noqa: SIM905  # a name a line would be 209 lines
)

# The options that are read, as (name, field, bytes): 0 bytes for a vector of numbers, -1 for one of 64 bits.
Option = tuple[str, int, int]
_WINDOW: Final[tuple[Option, ...]] = (("padding", 0, 1), ("stride_w", 1, 4), ("stride_h", 2, 4))
_POOL: Final[tuple[Option, ...]] = (*_WINDOW, ("filter_w", 3, 4), ("filter_h", 4, 4))
_KEEP: Final[tuple[Option, ...]] = (("keep_dims", 0, 1),)
_AXIS: Final[tuple[Option, ...]] = (("axis", 0, 4),)
OPTIONS: Final[Mapping[str, tuple[Option, ...]]] = {
    "CONV_2D": (*_WINDOW, ("dilation_w", 4, 4), ("dilation_h", 5, 4)),
    "DEPTHWISE_CONV_2D": (*_WINDOW, ("dilation_w", 5, 4), ("dilation_h", 6, 4)),
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "L2_POOL_2D": _POOL,
    "BATCH_MATMUL": (("adj_x", 0, 1), ("adj_y", 1, 1)),
    "FULLY_CONNECTED": (("keep_num_dims", 2, 1),),
    "RESHAPE": (("new_shape", 0, 0),),
    "SQUEEZE": (("squeeze_dims", 0, 0),),
    "STRIDED_SLICE": tuple(
        (name, field, 4) for field, name in enumerate(("begin", "end", "ellipsis", "new", "shrink"))
    ),
    "PACK": (("axis", 1, 4),),
    "UNPACK": (("num", 0, 4), ("axis", 1, 4)),
    "CONCATENATION": _AXIS,
    "ONE_HOT": _AXIS,
    "GATHER": (("axis", 0, 4), ("batch_dims", 1, 4)),
    "SPLIT": (("num", 0, 4),),
    "SPACE_TO_DEPTH": (("block", 0, 4),),
    "DEPTH_TO_SPACE": (("block", 0, 4),),
    "MEAN": _KEEP,
    "SUM": _KEEP,
    "REDUCE_MAX": _KEEP,
    "REDUCE_MIN": _KEEP,
    "REDUCE_PROD": _KEEP,
    "REDUCE_ANY": _KEEP,
    "REDUCE_ALL": _KEEP,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (("time_major", 3, 1),),
    "STABLEHLO_DOT_GENERAL": (("contracted", 2, -1),),
    "STABLEHLO_CONVOLUTION": (("outputs_at", 9, 8),),
}
# Which graphs an operator may run: the fields of its options that hold their numbers.
SUBGRAPHS: Final[Mapping[str, tuple[int, ...]]] = {
    "IF": (0, 1),
    "WHILE": (0, 1),
    "CALL": (0,),
    "STABLEHLO_COMPOSITE": (1,),
}
# Defaults that are not 0.
DEFAULTS: Final = {"dilation_w": 1, "dilation_h": 1, "axis": 0}
KINDS: Final = (
    "FLOAT32", "FLOAT16", "INT32", "UINT8", "INT64", "STRING", "BOOL", "INT16", "COMPLEX64", "INT8", "FLOAT64",
    "COMPLEX128", "UINT64", "RESOURCE", "VARIANT", "UINT32", "UINT16", "INT4", "BFLOAT16",
)  # fmt: skip
BYTES: Final = {
    "FLOAT32": 4, "FLOAT16": 2, "INT32": 4, "UINT8": 1, "INT64": 8, "BOOL": 1, "INT16": 2, "COMPLEX64": 8, "INT8": 1,
    "FLOAT64": 8, "COMPLEX128": 16, "UINT64": 8, "UINT32": 4, "UINT16": 2, "BFLOAT16": 2,
}  # fmt: skip


def _convolved(graph: Graph, node: Node) -> int:
    """Filters of (outputs, height, width, inputs / groups)."""
    source, filters = input_shape(graph, node, 0), input_shape(graph, node, 1)
    require_same(node, "ranks", 4, len(source), len(filters), len(output_shape(graph, node)))
    if not filters[3] or source[3] % filters[3]:
        require_same(node, "channels", source[3], filters[3])
    return filtered(1)(graph, node)


def _depthwise(graph: Graph, node: Node) -> int:
    """Each output value is a sum over one kernel: (1, height, width, channels)."""
    filters, result = input_shape(graph, node, 1), output_shape(graph, node)
    require_same(node, "channels", result[-1], filters[-1])
    return math.prod(result) * math.prod(filters[1:3])


def _transposed(graph: Graph, node: Node) -> int:
    """Each input value (input 2) is spread over the filters: (outputs, height, width, inputs)."""
    source, filters = input_shape(graph, node, 2), input_shape(graph, node, 1)
    require_same(node, "channels", source[-1], filters[-1])
    return math.prod(source) * math.prod(filters[:3])


def _transposed_bias(graph: Graph, node: Node) -> int:
    """MediaPipe's: the same of input 0."""
    return math.prod(input_shape(graph, node, 0)) * math.prod(input_shape(graph, node, 1)[:3])


def _solid(source: int) -> CostCounter:
    """Three dimensions: filters of (depth, height, width, …, channels on the side that each value belongs to)."""

    def counter(graph: Graph, node: Node) -> int:
        values = output_shape(graph, node) if source == 0 else input_shape(graph, node, source)
        return math.prod(values) * math.prod(input_shape(graph, node, 1)[:4])

    return counter


def _connected(graph: Graph, node: Node) -> int:
    """Weights of (units, inputs); the input is taken as rows of so many."""
    weights = input_shape(graph, node, 1)
    require_same(node, "ranks", 2, len(weights))
    values = math.prod(input_shape(graph, node, 0))
    if not weights[1] or values % weights[1]:
        require_same(node, "inputs", values, weights[1])
    return values * weights[0]


def _stepped(*weights: int) -> CostCounter:
    """Each step of each sequence, (…, features), multiplies with every matrix once."""

    def counter(graph: Graph, node: Node) -> int:
        steps = math.prod(input_shape(graph, node, 0)[:-1])
        shapes = [input_shape(graph, node, place) for place in weights if has_input(node, place)]
        return steps * sum(math.prod(shape) for shape in shapes if len(shape) == 2)

    return counter


def _lstm(graph: Graph, node: Node) -> int:
    """One step: a kernel of eight matrices, or the basic one of a single matrix for all."""
    return (_stepped(*range(1, 9), 16) if len(node.inputs) > 5 else _basic_lstm)(graph, node)


def _basic_lstm(graph: Graph, node: Node) -> int:
    return math.prod(input_shape(graph, node, 0)[:-1]) * math.prod(input_shape(graph, node, 2))


def _svdf(graph: Graph, node: Node) -> int:
    """Filters over features, then over what they remember of the last steps."""
    rows = math.prod(input_shape(graph, node, 0)[:-1])
    return rows * (math.prod(input_shape(graph, node, 1)) + math.prod(input_shape(graph, node, 2)))


def _dot_general(graph: Graph, node: Node) -> int:
    source = input_shape(graph, node, 0)
    contracted: tuple[int, ...] = node.attributes["contracted"]
    return math.prod(output_shape(graph, node)) * math.prod(source[axis] for axis in contracted)


def _stablehlo_convolved(graph: Graph, node: Node) -> int:
    kernel = input_shape(graph, node, 1)
    place: int = node.attributes["outputs_at"]
    return math.prod(output_shape(graph, node)) * math.prod(kernel) // kernel[place]


_COUNTERS: Final[Mapping[str, CostCounter]] = {
    "CONV_2D": _convolved,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _connected,
    "TRANSPOSE_CONV": _transposed,
    "BATCH_MATMUL": multiplied(0, 1, "adj_x", "adj_y"),
    "CUSTOM Convolution2DTransposeBias": _transposed_bias,
    "CONV_3D": _solid(0),
    "CONV_3D_TRANSPOSE": _solid(2),
    "LSTM": _lstm,
    "RNN": _stepped(1, 2),
    "SVDF": _svdf,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _stepped(1, 2),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _stepped(*range(1, 9), 16),
    "BIDIRECTIONAL_SEQUENCE_RNN": _stepped(1, 2, 5, 6, 10, 11),
    "BIDIRECTIONAL_SEQUENCE_LSTM": _stepped(*range(1, 9), 16, *range(18, 26), 33, *range(40, 48)),
    "STABLEHLO_CONVOLUTION": _stablehlo_convolved,
    "STABLEHLO_DOT_GENERAL": _dot_general,
}
# Control flow is judged by its graphs; the others multiply in ways that nothing here counts.
_UNKNOWN: Final = frozenset({
    "CALL", "CONCAT_EMBEDDINGS", "CUSTOM", "DELEGATE", "EMBEDDING_LOOKUP_SPARSE", "IF", "LSH_PROJECTION", "RFFT2D",
    "STABLEHLO_COMPOSITE", "STABLEHLO_CUSTOM_CALL", "STABLEHLO_WHILE", "WHILE",
})  # fmt: skip
_FREE: Final = frozenset(NAMES) - _COUNTERS.keys() - _UNKNOWN
# Shapes, axes and paddings follow the data; INT32 is also the kind of a quantised bias.
_WITH_SETTINGS: Final = (
    "ARG_MAX ARG_MIN BATCH_TO_SPACE_ND BROADCAST_TO CUMSUM DYNAMIC_UPDATE_SLICE EXPAND_DIMS GATHER GATHER_ND MEAN "
    "MIRROR_PAD NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 PAD PADV2 REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN "
    "REDUCE_PROD RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 SLICE SPACE_TO_BATCH_ND SPLIT_V "
    "STRIDED_SLICE SUM TILE TOPK_V2 TRANSPOSE"
)
_SETTINGS: Final = dict.fromkeys(_WITH_SETTINGS.split(), frozenset({1, 2, 3})) | {
    "FILL": frozenset({0}),
    "ONE_HOT": frozenset({0, 1, 2, 3}),
    "RANGE": frozenset({0, 1, 2}),
    "SCATTER_ND": frozenset({0, 2}),
    "SPLIT": frozenset({0}),
    "TRANSPOSE_CONV": frozenset({0}),
}
TFLITE_RULES: Final = CostRules(_COUNTERS, _FREE, _SETTINGS, frozenset({"INT64", "BOOL", "STRING"}))
