"""What ONNX operators cost."""

import math
from collections.abc import Mapping
from typing import Final

from pipeline.modelfiles.cost import (
    CostCounter,
    CostRules,
    filtered,
    input_shape,
    multiplied,
    output_shape,
    recurrent,
    transposed,
)
from pipeline.modelfiles.graph import Graph, Node


def _gemm(graph: Graph, node: Node) -> int:
    rows, columns = input_shape(graph, node, 0)
    inner = rows if node.attributes.get("transA") else columns
    return math.prod(output_shape(graph, node)) * inner


_COUNTERS: Final[Mapping[str, CostCounter]] = {
    "Conv": filtered(1),
    "ConvInteger": filtered(1),
    "QLinearConv": filtered(3),
    "com.microsoft.FusedConv": filtered(1),
    "ConvTranspose": transposed,
    "Gemm": _gemm,
    "com.microsoft.FusedGemm": _gemm,
    "MatMul": multiplied,
    "MatMulInteger": multiplied,
    "QLinearMatMul": multiplied,
    "com.microsoft.FusedMatMul": multiplied,
    "RNN": recurrent(1),
    "GRU": recurrent(3),
    "LSTM": recurrent(4),
}

_FREE: Final = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift Cast CastLike
    Ceil Celu Clip Concat ConstantOfShape Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout
    DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu
    GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish
    Hardmax Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax LpNormalization LpPool Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonZero Not
    OneHot Or PRelu Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    ReverseSequence Round ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax
    Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose
    Trilu Unsqueeze Upsample Where Xor
    com.microsoft.BiasGelu com.microsoft.DequantizeLinear com.microsoft.FastGelu com.microsoft.Gelu
    com.microsoft.QLinearAdd com.microsoft.QLinearAveragePool com.microsoft.QLinearConcat
    com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearMul com.microsoft.QLinearSigmoid
    com.microsoft.QuickGelu com.microsoft.QuantizeLinear com.microsoft.SkipLayerNormalization
    """.split()  # noqa: SIM905  # a name a line would be 130 lines
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
    "Pad": frozenset({1, 2, 3}),
    "QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMatMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QuantizeLinear": frozenset({1, 2}),
    "RNN": frozenset({4, 5}),
    "Range": frozenset({0, 1, 2}),
    "Resize": frozenset({1, 2, 3}),
    "com.microsoft.DequantizeLinear": frozenset({1, 2}),
    "com.microsoft.QuantizeLinear": frozenset({1, 2}),
}
_NOT_WEIGHTS: Final = frozenset({"int64", "bool", "string", "uint64"})

ONNX_RULES: Final = CostRules(_COUNTERS, _FREE, _SETTINGS, _NOT_WEIGHTS)
