"""The blocks of a latency table found again in an ONNX graph.

A graph built by pocketnas, from blocks or by exporting a trained network, gives back exactly the blocks it was
made of. Of a foreign graph some convolutions may be no block; the share of MACs that is tells how much is known.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from latency_tables.blocks import Activation, Block, BlockError, Padding, same_pads, total_macs
from pipeline.modelfiles.dequantised import Precision, computed_in, dequantised
from pipeline.modelfiles.graph import Graph, Node
from pipeline.modelfiles.wiring import Wiring

_GATES: Final = {"relu": "HardSigmoid", "silu": "Sigmoid"}


@dataclass(frozen=True, slots=True)
class Recognised:
    """`blocks` in the order of execution; `share` of the graph's MACs that they account for, 0 to 1.

    `exact` says that they are the whole network: every multiplication is theirs and each block takes what the
    one before gives. `leftover` names operators (and how many) outside of them, such as a softmax.
    """

    blocks: tuple[Block, ...]
    share: float
    exact: bool
    leftover: tuple[tuple[str, int], ...]
    precision: Precision


def recognise(graph: Graph, macs: int, uncounted: bool = False) -> Recognised:
    """The blocks in an ONNX `graph` of so many MACs for one image, at least so many where some are `uncounted`."""
    parser = _Parser(dequantised(graph))
    blocks = tuple(parser.blocks())
    share = total_macs(blocks) / macs if macs else 0.0
    whole = bool(blocks) and total_macs(blocks) == macs and not uncounted
    return Recognised(blocks, min(share, 1.0), whole and _chained(blocks), parser.leftover(), computed_in(graph))


def _chained(blocks: Sequence[Block]) -> bool:
    return all((a.out_channels, a.out_size) == (b.in_channels, b.in_size) for a, b in pairwise(blocks))


@dataclass(frozen=True, slots=True)
class _Unit:
    """A convolution with the BatchNorm and activation behind it."""

    source: str
    result: str
    size: int
    inputs: int
    outputs: int
    kernel: int
    stride: int
    depthwise: bool
    bias: bool
    padding: Padding
    activation: Activation
    nodes: tuple[Node, ...]


class _Parser:
    """Reads a graph in its order; every node belongs to at most one block."""

    def __init__(self, graph: Graph) -> None:
        self._wiring = Wiring(graph)
        self._used: set[str] = set()

    def blocks(self) -> list[Block]:
        """All blocks, marking their nodes as used."""
        found = []
        for node in self._wiring.nodes:
            if node.outputs[0] in self._used:
                continue
            try:
                parsed = self._parse(node)
            except BlockError:  # a shape that no block can have
                parsed = None
            if parsed is not None:
                block, nodes = parsed
                self._used.update(n.outputs[0] for n in nodes)
                found.append(block)
        return found

    def leftover(self) -> tuple[tuple[str, int], ...]:
        """Operators that belong to no block."""
        counts: dict[str, int] = defaultdict(int)
        for node in self._wiring.nodes:
            if node.outputs[0] not in self._used:
                counts[node.operator] += 1
        return tuple(sorted(counts.items()))

    # -- one block ----------------------------------------------------------------------------------

    def _parse(self, node: Node) -> tuple[Block, list[Node]] | None:
        if node.operator == "Conv":
            return self._mbconv(node) or self._single(node)
        if node.operator in ("Gemm", "MatMul"):
            return self._linear(node)
        if self._wiring.pools(node):
            return self._pool(node)
        return None

    def _mbconv(self, node: Node) -> tuple[Block, list[Node]] | None:
        first = self._unit(node)
        if first is None:
            return None
        nodes = [*first.nodes]
        depthwise = first
        if not first.depthwise:
            following = self._wiring.next_conv(first.result)
            wide = None if following is None else self._unit(following)
            widens = first.kernel == first.stride == 1 and first.inputs != first.outputs
            if wide is None or not wide.depthwise or not widens or wide.activation != first.activation:
                return None
            depthwise = wide
            nodes += wide.nodes
        tensor, squeezed, gate = self._squeeze(depthwise)
        nodes += gate
        last = self._wiring.next_conv(tensor)
        project = None if last is None else self._unit(last)
        if project is None or project.depthwise or (project.kernel, project.stride) != (1, 1):
            return None
        if project.activation != "none":
            return None
        nodes += project.nodes
        added = self._added(project.result, first.source)
        block = Block(
            "mbconv",
            first.size,
            first.inputs,
            project.outputs,
            depthwise.kernel,
            depthwise.stride,
            depthwise.outputs,
            squeezed,
            depthwise.activation,
            added is not None,
            depthwise.padding,
        )
        return block, nodes + ([] if added is None else [added])

    def _single(self, node: Node) -> tuple[Block, list[Node]] | None:
        unit = self._unit(node)
        if unit is None or unit.depthwise:
            return None
        # A convolution of the pooled vector without bias is a mix; with one it had a BatchNorm.
        mixes = unit.size == unit.kernel == 1 and not unit.bias
        block = Block(
            "mix" if mixes else "conv",
            unit.size,
            unit.inputs,
            unit.outputs,
            unit.kernel,
            unit.stride,
            activation=unit.activation,
            padding=unit.padding,
        )
        return block, [*unit.nodes]

    def _pool(self, node: Node) -> tuple[Block, list[Node]] | None:
        shape = self._wiring.graph.shape(node.inputs[0])
        if shape is None or len(shape) != 4 or None in shape or shape[2] != shape[3]:
            return None
        _, channels, size, _ = shape
        if not isinstance(channels, int) or not isinstance(size, int):
            return None
        return Block("pool", size, channels, channels), [node]

    def _linear(self, node: Node) -> tuple[Block, list[Node]] | None:
        weight = self._wiring.graph.constants.get(node.inputs[1])
        result = self._wiring.graph.shape(node.outputs[0])
        if weight is None or len(weight.shape) != 2 or result is None or len(result) != 2:
            return None
        transposed = node.operator == "Gemm" and node.attributes.get("transB")
        inputs, outputs = weight.shape[::-1] if transposed else weight.shape
        nodes = [node]
        if node.operator == "MatMul":
            bias = self._wiring.only(node.outputs[0], "Add")
            nodes += [] if bias is None else [bias]
        activation, _, more = self._activation(nodes[-1].outputs[0])
        return Block("linear", 1, inputs, outputs, activation=activation), [*nodes, *more]

    # -- its parts ----------------------------------------------------------------------------------

    def _unit(self, node: Node) -> _Unit | None:
        weight = self._wiring.graph.constants.get(node.inputs[1])
        before, after = self._wiring.graph.shape(node.inputs[0]), self._wiring.graph.shape(node.outputs[0])
        if node.outputs[0] in self._used or weight is None or before is None or after is None:
            return None
        if len(weight.shape) != 4 or len(before) != 4 or len(after) != 4:
            return None
        outputs, _, kernel, width = weight.shape
        channels, size = before[1], before[2]
        if channels is None or size is None or size != before[3] or kernel != width:
            return None
        strides = node.attributes.get("strides", [1, 1])
        groups = node.attributes.get("group", 1)
        depthwise = groups == channels == outputs and groups > 1
        plain = set(node.attributes.get("dilations", [1, 1])) == {1} and strides[0] == strides[1]
        if not plain or not (depthwise or groups == 1) or after[2:] != (-(-size // strides[0]),) * 2:
            return None
        padding = self._padding(node, size, kernel, strides[0])
        if padding is None:
            return None
        nodes, result, bias = [node], node.outputs[0], len(node.inputs) > 2
        norm = self._wiring.only(result, "BatchNormalization")
        if norm is not None:
            nodes.append(norm)
            result, bias = norm.outputs[0], True
        activation, result, more = self._activation(result)
        nodes += more
        stride, source = strides[0], node.inputs[0]
        return _Unit(
            source, result, size, channels, outputs, kernel, stride, depthwise, bias, padding, activation, tuple(nodes)
        )

    def _padding(self, node: Node, size: int, kernel: int, stride: int) -> Padding | None:
        """How a convolution of a known output size is padded; None where no block is padded like that."""
        attributes = node.attributes
        same = same_pads(size, kernel, stride)
        automatic = {b"SAME_UPPER": [same[0]] * 2, b"SAME_LOWER": [same[1]] * 2}
        written = automatic.get(attributes.get("auto_pad", b""), attributes.get("pads", [0, 0, 0, 0])[:2])
        around = self._wiring.pads[node.outputs[0]]
        before = {written[0] + around[0], written[1] + around[1]}
        # What stands after the last place of the kernel changes nothing, so the zeros before tell all.
        return "symmetric" if before == {kernel // 2} else "same" if before == {same[0]} else None

    def _activation(self, tensor: str) -> tuple[Activation, str, list[Node]]:
        """The activation that reads `tensor`, the tensor it gives, and its nodes."""
        readers = self._wiring.consumers[tensor]
        if len(readers) == 1:
            node = readers[0]
            name: Activation = "none"
            if node.operator == "Relu":
                name = "relu"
            elif node.operator == "Clip" and self._wiring.bounds(node) == (0.0, 6.0):
                name = "relu6"
            elif node.operator == "HardSwish":
                name = "hswish"
            elif node.operator == "Swish":
                name = "silu"
            return (name, node.outputs[0], [node]) if name != "none" else ("none", tensor, [])
        gate = next((n for n in readers if n.operator in ("Sigmoid", "HardSigmoid")), None)
        product = None if gate is None else self._wiring.only(gate.outputs[0], "Mul")
        if gate is not None and product is not None and product in readers and len(readers) == 2:
            smooth = gate.operator == "Sigmoid"
            return "silu" if smooth else "hswish", product.outputs[0], [gate, product]
        return self._spelled_hswish(tensor)

    def _spelled_hswish(self, tensor: str) -> tuple[Activation, str, list[Node]]:
        """x * clip(x + 3, 0, 6) / 6, as exporters without a HardSwish operator write it."""
        shift = next((n for n in self._wiring.consumers[tensor] if n.operator == "Add"), None)
        clip = None if shift is None else self._wiring.only(shift.outputs[0], "Clip")
        if (
            shift is None
            or clip is None
            or self._wiring.bounds(clip) != (0.0, 6.0)
            or self._wiring.scalar(shift) != 3.0
        ):
            return "none", tensor, []
        after = self._wiring.consumers[clip.outputs[0]]
        if len(after) == 1 and after[0].operator in ("Mul", "Div"):
            second = self._wiring.consumers[after[0].outputs[0]]
            nodes = [shift, clip, after[0], *second[:1]]
            if tensor in (*after[0].inputs, *(second[0].inputs if second else ())) and len(second) == 1:
                return "hswish", second[0].outputs[0], nodes
        return "none", tensor, []

    def _squeeze(self, unit: _Unit) -> tuple[str, int, list[Node]]:
        """The tensor after squeeze-and-excitation of `unit`'s result, its inner channels, its nodes."""
        readers = self._wiring.consumers[unit.result]
        pool = next((node for node in readers if self._wiring.pools(node)), None)
        reduce = None if pool is None else self._wiring.next_conv(pool.outputs[0])
        inner = None if reduce is None else self._unit(reduce)
        widen = None if inner is None else self._wiring.next_conv(inner.result)
        outer = None if widen is None else self._unit(widen)
        if pool is None or inner is None or outer is None:
            return unit.result, 0, []
        kind = "silu" if unit.activation == "silu" else "relu"
        sigmoid = self._wiring.only(outer.result, _GATES[kind])
        product = None if sigmoid is None else self._wiring.only(sigmoid.outputs[0], "Mul")
        if sigmoid is None or product is None or product not in readers or inner.activation != kind:
            return unit.result, 0, []
        nodes = [pool, *inner.nodes, *outer.nodes, sigmoid, product]
        return product.outputs[0], inner.outputs, nodes

    def _added(self, tensor: str, source: str) -> Node | None:
        node = self._wiring.only(tensor, "Add")
        return node if node is not None and source in node.inputs else None
