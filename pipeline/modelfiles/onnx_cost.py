"""What ONNX operators cost, ONNX Runtime's own included."""

import math
from collections.abc import Mapping
from typing import Final

from pipeline.modelfiles.cost import (
    CostCounter,
    CostRules,
    Uncountable,
    has_input,
    input_shape,
    multiplied,
    output_shape,
    require_same,
)
from pipeline.modelfiles.graph import Graph, Node


def _convolved(weight: int) -> CostCounter:
    """Each output value is a sum over one filter: (outputs, inputs / groups, kernel…)."""

    def counter(graph: Graph, node: Node) -> int:
        source, filters = input_shape(graph, node, 0), input_shape(graph, node, weight)
        require_same(node, "ranks", len(source), len(filters), len(output_shape(graph, node)))
        groups = int(node.attributes.get("group", 1))
        if not node.attributes.get("channels_last") and not node.operator.startswith("com.ms.internal.nhwc"):
            require_same(node, "channels", source[1], filters[1] * groups)
        return math.prod(output_shape(graph, node)) * math.prod(filters[1:])

    return counter


def _transposed(graph: Graph, node: Node) -> int:
    """Each input value is spread over one filter: (inputs, outputs / groups, kernel…)."""
    source, filters = input_shape(graph, node, 0), input_shape(graph, node, 1)
    require_same(node, "channels", source[1], filters[0])
    return math.prod(source) * math.prod(filters[1:])


def _recurrent(gates: int) -> CostCounter:
    """Per step and direction: `gates` matrices on the input and as many on the hidden state."""

    def counter(graph: Graph, node: Node) -> int:
        steps, batch, features = input_shape(graph, node, 0)
        directions, rows, columns = input_shape(graph, node, 1)
        require_same(node, "features", features, columns)
        return steps * batch * directions * rows * (features + rows // gates)

    return counter


def _quantised_lstm(graph: Graph, node: Node) -> int:
    """As LSTM, with weights of (directions, features, rows)."""
    steps, batch, features = input_shape(graph, node, 0)
    directions, columns, rows = input_shape(graph, node, 1)
    require_same(node, "features", features, columns)
    return steps * batch * directions * rows * (features + rows // 4)


def _packed_product(graph: Graph, node: Node) -> int:
    """A matrix of K rows and N columns, packed by blocks."""
    return math.prod(output_shape(graph, node)) * int(node.attributes["K"])


def _attention(past: int) -> CostCounter:
    """Projections to queries, keys and values, then queries by keys and shares by values. Input `past` is a cache."""

    def counter(graph: Graph, node: Node) -> int:
        batch, steps, features = input_shape(graph, node, 0)
        rows, columns = input_shape(graph, node, 1)
        require_same(node, "features", features, rows)
        q, k, v = node.attributes.get("qkv_hidden_sizes") or [columns // 3] * 3
        if q != k or has_input(node, past):
            raise Uncountable(" with a cache")
        return int(batch * steps * features * (q + k + v) + batch * steps * steps * (k + v))

    return counter


def _einsum(graph: Graph, node: Node) -> int:
    """The product of two matrices that it is, after sums over what only one of them has; free without a common sum."""
    equation = node.attributes.get("equation", b"")
    text = (equation.decode("ascii", "replace") if isinstance(equation, bytes) else str(equation)).replace(" ", "")
    terms, _, result = text.partition("->")
    one, _, two = terms.partition(",")
    if "." in text or "," in two or not two or "->" not in text or len(set(one)) < len(one) or len(set(two)) < len(two):
        raise Uncountable(f" {text!r}")
    sizes: dict[str, int] = {}
    for place, term in enumerate((one, two)):
        shape = input_shape(graph, node, place)
        require_same(node, "ranks", len(term), len(shape))
        for letter, size in zip(term, shape, strict=True):
            known = sizes.setdefault(letter, size)
            require_same(node, f"sizes of {letter}", *({known, size} - {1}))
            sizes[letter] = max(known, size)
    common = set(one) & set(two)
    return math.prod(sizes[letter] for letter in common | set(result)) if common - set(result) else 0


_COUNTERS: Final[Mapping[str, CostCounter]] = {
    "Conv": _convolved(1),
    "ConvInteger": _convolved(1),
    "QLinearConv": _convolved(3),
    "ConvTranspose": _transposed,
    "Gemm": multiplied(0, 1, "transA", "transB"),
    "MatMul": multiplied(0, 1),
    "MatMulInteger": multiplied(0, 1),
    "QLinearMatMul": multiplied(0, 3),
    "RNN": _recurrent(1),
    "GRU": _recurrent(3),
    "LSTM": _recurrent(4),
    "DeformConv": _convolved(1),
    "Einsum": _einsum,
    "com.microsoft.Attention": _attention(4),
    "com.microsoft.DynamicQuantizeLSTM": _quantised_lstm,
    "com.microsoft.DynamicQuantizeMatMul": multiplied(0, 1),
    "com.microsoft.FusedConv": _convolved(1),
    "com.microsoft.FusedGemm": multiplied(0, 1, "transA", "transB"),
    "com.microsoft.FusedMatMul": multiplied(0, 1, "transA", "transB"),
    "com.microsoft.MatMulBnb4": _packed_product,
    "com.microsoft.MatMulIntegerToFloat": multiplied(0, 1),
    "com.microsoft.MatMulNBits": _packed_product,
    "com.microsoft.QAttention": _attention(8),
    "com.microsoft.QGemm": multiplied(0, 3, "transA", "transB"),
    "com.microsoft.QLinearConv": _convolved(3),
}

_FREE: Final = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Bernoulli BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Compress
    Concat ConcatFromSequence Constant ConstantOfShape Cos Cosh CumSum DepthToSpace DequantizeLinear Det Div Dropout
    DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HammingWindow
    HannWindow HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu
    Less LessOrEqual Log LogSoftmax LpNormalization LpPool Max MaxPool MaxRoiPool MaxUnpool Mean
    MeanVarianceNormalization Min Mish Mod Mul Multinomial Neg NonMaxSuppression NonZero Not OneHot Optional
    OptionalGetElement OptionalHasElement Or PRelu Pad Pow QuantizeLinear RMSNormalization RandomNormal
    RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign
    RotaryEmbedding Round ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase
    SequenceInsert SequenceLength Shape Shrink Sigmoid Sign SimplifiedLayerNormalization Sin Sinh Size Slice Softmax
    Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze StringConcat StringNormalizer StringSplit Sub Sum
    Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor
    com.microsoft.BiasAdd com.microsoft.BiasGelu com.microsoft.BiasSoftmax com.microsoft.BiasSplitGelu
    com.microsoft.ConcatFromSequence com.microsoft.DequantizeLinear com.microsoft.EmbedLayerNormalization
    com.microsoft.FastGelu com.microsoft.Gelu com.microsoft.GroupNorm com.microsoft.Inverse com.microsoft.NhwcMaxPool
    com.microsoft.QLinearAdd com.microsoft.QLinearAveragePool com.microsoft.QLinearConcat
    com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearLeakyRelu com.microsoft.QLinearMul
    com.microsoft.QLinearReduceMean com.microsoft.QLinearSigmoid com.microsoft.QLinearSoftmax com.microsoft.QLinearWhere
    com.microsoft.QuantizeLinear com.microsoft.QuickGelu com.microsoft.RotaryEmbedding
    com.microsoft.SkipGroupNorm com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization
    com.microsoft.Trilu com.microsoft.Unique
    """.split()  # noqa: SIM905  # a name a line would be 200 lines
)

# Scales and zero points of quantisation, bounds, axes, statistics of normalisation, states to begin with.
_SETTINGS: Final[Mapping[str, frozenset[int]]] = {
    "BatchNormalization": frozenset({3, 4}),
    "Clip": frozenset({1, 2}),
    "ConstantOfShape": frozenset({0}),
    "ConvInteger": frozenset({2, 3}),
    "DequantizeLinear": frozenset({1, 2}),
    "GRU": frozenset({4, 5}),
    "LSTM": frozenset({4, 5, 6}),
    "MatMulInteger": frozenset({2, 3}),
    "NonMaxSuppression": frozenset({2, 3, 4}),
    "Pad": frozenset({1, 2, 3}),
    "QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMatMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QuantizeLinear": frozenset({1, 2}),
    "RNN": frozenset({4, 5}),
    "Range": frozenset({0, 1, 2}),
    "Resize": frozenset({1, 2, 3}),
    "com.microsoft.DequantizeLinear": frozenset({1, 2}),
    "com.microsoft.DynamicQuantizeLSTM": frozenset({4, 5, 6, 8, 9, 10, 11}),
    "com.microsoft.DynamicQuantizeMatMul": frozenset({2, 3}),
    "com.microsoft.MatMulIntegerToFloat": frozenset({2, 3, 4, 5}),
    "com.microsoft.MatMulNBits": frozenset({2, 3, 4}),
    "com.microsoft.QGemm": frozenset({1, 2, 4, 5, 7, 8}),
    "com.microsoft.QLinearAdd": frozenset({1, 2, 4, 5, 6, 7}),
    "com.microsoft.QLinearAveragePool": frozenset({1, 2, 3, 4}),
    "com.microsoft.QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "com.microsoft.QLinearGlobalAveragePool": frozenset({1, 2, 3, 4}),
    "com.microsoft.QLinearMul": frozenset({1, 2, 4, 5, 6, 7}),
    "com.microsoft.QLinearSigmoid": frozenset({1, 2, 3, 4}),
    "com.microsoft.QLinearSoftmax": frozenset({1, 2, 3, 4}),
    "com.microsoft.QuantizeLinear": frozenset({1, 2}),
}
_NOT_WEIGHTS: Final = frozenset({"int64", "bool", "string", "uint64"})
_PACKED: Final = {"com.microsoft.MatMulNBits": (1, ("K", "N")), "com.microsoft.MatMulBnb4": (1, ("K", "N"))}

ONNX_RULES: Final = CostRules(_COUNTERS, _FREE, _SETTINGS, _NOT_WEIGHTS, _PACKED)
