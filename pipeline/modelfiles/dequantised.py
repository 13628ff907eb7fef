"""A quantised ONNX graph as the floating-point graph that it stands for.

Quantisers leave activations out where the range of the 8-bit numbers cuts the values off by itself: a ReLU is a zero
point at the lowest number. They are put back here, so that blocks are found as in any other graph.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from pipeline.modelfiles.graph import Graph, Node, Shape

Precision = Literal["fp32", "fp16", "int8", "mixed"]

_LOWEST: Final = {"uint8": 0.0, "int8": -128.0, "uint16": 0.0, "int16": -32768.0}
_LEVELS: Final = {"uint8": 255, "int8": 255, "uint16": 65535, "int16": 65535}
_MULTIPLIES: Final = frozenset({"Conv", "Gemm", "MatMul"})
_AT_RUN_TIME: Final = frozenset(
    {"ConvInteger", "MatMulInteger", "com.microsoft.DynamicQuantizeMatMul", "com.microsoft.MatMulIntegerToFloat"}
)
_SIX: Final = 6.0
_CLOSE: Final = 1e-3  # of 6: scales are rounded to 32 bits, and their ranges widened a little


@dataclass(frozen=True, slots=True)
class _Form:
    """A QLinear operator: the plain one, and where its numbers, its result's scale and its zero point stand."""

    operator: str
    numbers: tuple[int, ...]
    scale: int
    zero_point: int


_FORMS: Final[Mapping[str, _Form]] = {
    "QLinearConv": _Form("Conv", (0, 3, 8), 6, 7),
    "QLinearMatMul": _Form("MatMul", (0, 3), 6, 7),
    "com.microsoft.QGemm": _Form("Gemm", (0, 3, 6), 7, 8),
    "com.microsoft.QLinearAdd": _Form("Add", (0, 3), 6, 7),
    "com.microsoft.QLinearMul": _Form("Mul", (0, 3), 6, 7),
    "com.microsoft.QLinearGlobalAveragePool": _Form("GlobalAveragePool", (0,), 3, 4),
    "com.microsoft.QLinearSigmoid": _Form("Sigmoid", (0,), 3, 4),
}


def dequantised(graph: Graph) -> Graph:
    """`graph` with plain operators in the place of quantised ones and with the activations that ranges stand for.

    A graph without quantised tensors comes back as it is. What lies channels-last is left alone.
    """
    if not any("QuantizeLinear" in node.operator or node.operator in _FORMS for node in graph.nodes):
        return graph
    return _Dequantiser(graph).graph()


def computed_in(graph: Graph) -> Precision:
    """The precision of the multiplications: int8 only where all of them read quantised tensors, `mixed` where some do.

    Weights that are merely stored in 8 bits are multiplied in floating point.
    """
    quantised = {
        node.outputs[0]
        for node in graph.nodes
        if node.operator == "DequantizeLinear" and node.inputs[0] not in graph.constants
    }
    found: set[bool] = set()
    for node in graph.nodes:
        if node.operator in _AT_RUN_TIME:  # quantised anew for every image, which costs something else
            return "mixed"
        if node.operator in _MULTIPLIES and node.inputs[0] not in graph.constants:
            found.add(node.inputs[0] in quantised)
        elif node.operator in _FORMS and _FORMS[node.operator].operator in _MULTIPLIES:
            found.add(True)
    if found == {True, False}:
        return "mixed"
    if found == {True}:
        return "int8"
    halves = any(constant.kind == "float16" and constant.elements > 1 for constant in graph.constants.values())
    return "fp16" if halves else "fp32"


class _Dequantiser:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._readers: dict[str, list[Node]] = defaultdict(list)
        self._maker = {name: node for node in graph.nodes for name in node.outputs}
        for node in graph.nodes:
            for name in node.inputs:
                self._readers[name].append(node)
        self._shapes: dict[str, Shape] = dict(graph.shapes)
        tops = [top for node in graph.nodes if (top := self._cut_off(node)) is not None]
        # Whether ReLUs end at 6 is the same for a whole network; one tensor alone may stay below it by chance.
        self._ends_at_six = bool(tops) and _SIX * (1 - _CLOSE) <= max(tops) <= _SIX * (1 + _CLOSE)

    def graph(self) -> Graph:
        nodes = tuple(plain for node in self._graph.nodes for plain in self._plain(node))
        return replace(self._graph, nodes=nodes, shapes=self._shapes)

    def _plain(self, node: Node) -> Iterator[Node]:
        form = _FORMS.get(node.operator)
        if form is None:
            source = self._maker.get(node.inputs[0]) if node.operator == "QuantizeLinear" else None
            if source is not None and self._cut_off(source) is not None:
                yield self._activation(source, node.inputs[0], node.outputs[0])
            else:
                yield node
            return
        if node.attributes.get("channels_last"):
            yield node
            return
        inputs = tuple(node.inputs[place] for place in form.numbers if place < len(node.inputs))
        plain = Node(form.operator, node.name, inputs, node.outputs, node.attributes)
        if self._cut_off(node) is None:
            yield plain
            return
        before = f"{node.outputs[0]}, before its activation"
        if (shape := self._graph.shape(node.outputs[0])) is not None:
            self._shapes[before] = shape
        yield replace(plain, outputs=(before,))
        yield self._activation(node, before, node.outputs[0])

    def _activation(self, source: Node, tensor: str, result: str) -> Node:
        if self._ends_at_six and not self._squeezes(source):
            return Node("Clip", f"{source.name}, cut off", (tensor,), (result,), {"min": 0.0, "max": _SIX})
        return Node("Relu", f"{source.name}, cut off", (tensor,), (result,), {})

    def _cut_off(self, node: Node) -> float | None:
        """The largest value of a product's result that is quantised without numbers below 0; None for any other."""
        form = _FORMS.get(node.operator)
        if (form.operator if form else node.operator) not in ("Conv", "Gemm"):
            return None
        if form is not None:
            scale, zero_point = (self._input(node, place) for place in (form.scale, form.zero_point))
            end = node.outputs[0]
        else:
            readers = self._readers[node.outputs[0]]
            if len(readers) != 1 or readers[0].operator != "QuantizeLinear":
                return None
            scale, zero_point = (self._input(readers[0], place) for place in (1, 2))
            end = readers[0].outputs[0]
        if any(name in self._graph.outputs for reader in self._readers[end] for name in reader.outputs):
            return None  # a classifier has no activation, though all of its logits may have been positive
        step = self._graph.constants.get(scale)
        if step is None or step.values is None or len(step.values) != 1:
            return None
        zero = self._graph.constants.get(zero_point)
        kind = "uint8" if zero is None else zero.kind
        if kind not in _LOWEST or (zero is not None and zero.values != (_LOWEST[kind],)):
            return None
        return step.values[0] * _LEVELS[kind]

    def _input(self, node: Node, place: int) -> str:
        return node.inputs[place] if place < len(node.inputs) else ""

    def _squeezes(self, node: Node) -> bool:
        """Whether a convolution is the first of a squeeze-and-excitation, whose ReLU never ends at 6."""
        gates = ("Sigmoid", "HardSigmoid", "com.microsoft.QLinearSigmoid")
        after = self._behind(node.outputs[0], self._multiplies)
        return any(self._behind(other.outputs[0], lambda gate: gate.operator in gates) for other in after)

    def _multiplies(self, node: Node) -> bool:
        form = _FORMS.get(node.operator)
        return (form.operator if form else node.operator) == "Conv" and self._graph.shape(node.outputs[0]) is not None

    def _behind(self, tensor: str, wanted: Callable[[Node], bool]) -> list[Node]:
        """The wanted nodes that read `tensor`, quantised and back or not, of one number a channel."""
        found: list[Node] = []
        pending = [tensor]
        while pending:
            name = pending.pop()
            if (self._graph.shape(name) or (0,))[2:] != (1, 1):
                continue
            for reader in self._readers[name]:
                if reader.operator in ("QuantizeLinear", "DequantizeLinear"):
                    pending.append(reader.outputs[0])
                elif wanted(reader):
                    found.append(reader)
        return found
