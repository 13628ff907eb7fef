"""What the operations of Core ML's programs (MIL) cost."""

import math
from collections.abc import Mapping
from typing import Final

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
from pipeline.modelfiles.graph import Graph, Node


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
