"""Multiply-accumulates and parameters of an arbitrary ONNX graph.

Each operator that multiplies has its counter in one dict; operators that do not are listed. Anything else is
unsupported: it is counted and named, never taken as free.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.gate.onnx_graph import Graph, Node, Shape


@dataclass(frozen=True, slots=True)
class GraphCost:
    """`macs` of one image and `params` stored as weights; `unsupported` maps operators to how many there are.

    `macs` is a lower bound where `unsupported` is not empty.
    """

    macs: int
    params: int
    macs_by_operator: Mapping[str, int]
    unsupported: Mapping[str, int]


class _UnknownShape(Exception):  # noqa: N818  # never leaves this module
    """A counter needs a shape that the file does not tell."""


def graph_cost(graph: Graph) -> GraphCost:
    """What `graph` costs for one image."""
    macs: Counter[str] = Counter()
    unsupported: Counter[str] = Counter()
    for node in graph.nodes:
        counter = COUNTERS.get(node.operator)
        if counter is None:
            if node.operator not in FREE:
                unsupported[node.operator] += 1
            continue
        try:
            macs[node.operator] += counter(graph, node)
        except _UnknownShape:
            unsupported[f"{node.operator} of unknown shape"] += 1
    return GraphCost(sum(macs.values()), _params(graph), dict(macs), dict(sorted(unsupported.items())))


def _known(shape: Shape | None) -> tuple[int, ...]:
    if shape is None:
        raise _UnknownShape
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) != len(shape):
        raise _UnknownShape
    return sizes


def _input(graph: Graph, node: Node, index: int) -> tuple[int, ...]:
    return _known(graph.shape(node.inputs[index]) if index < len(node.inputs) else None)


def _output(graph: Graph, node: Node) -> tuple[int, ...]:
    return _known(graph.shape(node.outputs[0]))


def _convolution(weight: int) -> Callable[[Graph, Node], int]:
    """Each output value is a sum over one filter: (outputs, inputs / groups, kernel…)."""
    return lambda graph, node: math.prod(_output(graph, node)) * math.prod(_input(graph, node, weight)[1:])


def _transposed(graph: Graph, node: Node) -> int:
    """Each input value is spread over one filter: (inputs, outputs / groups, kernel…)."""
    return math.prod(_input(graph, node, 0)) * math.prod(_input(graph, node, 1)[1:])


def _gemm(graph: Graph, node: Node) -> int:
    rows, columns = _input(graph, node, 0)
    inner = rows if node.attributes.get("transA") else columns
    return math.prod(_output(graph, node)) * inner


def _matmul(graph: Graph, node: Node) -> int:
    return math.prod(_output(graph, node)) * _input(graph, node, 0)[-1]


def _recurrent(gates: int) -> Callable[[Graph, Node], int]:
    """Per step and direction: `gates` matrices on the input and as many on the hidden state."""

    def counter(graph: Graph, node: Node) -> int:
        steps, batch, features = _input(graph, node, 0)
        directions, rows, _ = _input(graph, node, 1)
        return steps * batch * directions * rows * (features + rows // gates)

    return counter


COUNTERS: Final[Mapping[str, Callable[[Graph, Node], int]]] = {
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "com.microsoft.FusedConv": _convolution(1),
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "com.microsoft.FusedGemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "com.microsoft.FusedMatMul": _matmul,
    "RNN": _recurrent(1),
    "GRU": _recurrent(3),
    "LSTM": _recurrent(4),
}

# Elementwise, normalising, pooling and shape operators: they multiply at most once per value.
FREE: Final = frozenset(
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

# Inputs that tell an operator what to do instead of being learned: scales and zero points of quantisation,
# bounds, axes, statistics of normalisation.
_SETTINGS: Final[Mapping[str, frozenset[int]]] = {
    "BatchNormalization": frozenset({3, 4}),
    "Clip": frozenset({1, 2}),
    "ConstantOfShape": frozenset({0}),
    "ConvInteger": frozenset({2, 3}),
    "DequantizeLinear": frozenset({1, 2}),
    "MatMulInteger": frozenset({2, 3}),
    "Pad": frozenset({1, 2, 3}),
    "QLinearConv": frozenset({1, 2, 4, 5, 6, 7}),
    "QLinearMatMul": frozenset({1, 2, 4, 5, 6, 7}),
    "QuantizeLinear": frozenset({1, 2}),
    "Range": frozenset({0, 1, 2}),
    "Resize": frozenset({1, 2, 3}),
    "com.microsoft.DequantizeLinear": frozenset({1, 2}),
    "com.microsoft.QuantizeLinear": frozenset({1, 2}),
}
_NOT_WEIGHTS: Final = frozenset({"int64", "bool", "string", "uint64"})


def _params(graph: Graph) -> int:
    """Elements of all constants that are weights; a constant that several nodes read counts once."""
    weights = set()
    for node in graph.nodes:
        settings = _SETTINGS.get(node.operator, frozenset())
        for index, name in enumerate(node.inputs):
            constant = graph.constants.get(name)
            if constant is None or index in settings or constant.kind in _NOT_WEIGHTS:
                continue
            # A lone number beside an elementwise operator is arithmetic (x / 6), not a weight.
            if constant.shape or node.operator == "PRelu":
                weights.add(name)
    return sum(graph.constants[name].elements for name in weights)
