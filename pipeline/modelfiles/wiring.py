"""A graph as its blocks are wired: what only spells a tensor anew is looked through; every tensor knows its readers."""

import math
from collections import defaultdict
from dataclasses import replace
from typing import Final

from pipeline.modelfiles.graph import Graph, Node

_TRANSPARENT: Final = frozenset({"Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear"})
_RESHAPES: Final = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Gather"})


class Wiring:
    """The nodes of a graph that compute something, in its order, with inputs named by the tensors they stand for.

    `consumers` are the readers of each tensor; `pads`, of a convolution's result, the rows and columns of zeros that
    were put before its input apart from it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._same: dict[str, str] = {}
        self.consumers: dict[str, list[Node]] = defaultdict(list)
        self.nodes: list[Node] = []
        self.pads: dict[str, tuple[int, int]] = {}
        around: dict[str, tuple[int, int]] = {}
        readers: dict[str, set[str]] = defaultdict(set)
        for node in graph.nodes:
            for name in node.inputs:
                readers[name].add(node.operator)
        for node in graph.nodes:
            zeros = self._zeros_before(node) if readers[node.outputs[0]] == {"Conv"} else None
            if zeros is not None:
                around[node.outputs[0]] = zeros
            if zeros is not None or node.operator in _TRANSPARENT or self._reshapes_vector(node):
                self._same[node.outputs[0]] = self._name(node.inputs[0])
                continue
            if node.operator == "Conv":
                self.pads[node.outputs[0]] = around.get(node.inputs[0], (0, 0))
            seen = replace(node, inputs=tuple(map(self._name, node.inputs)))
            self.nodes.append(seen)
            for name in dict.fromkeys(seen.inputs):
                self.consumers[name].append(seen)

    def _zeros_before(self, node: Node) -> tuple[int, int] | None:
        """The rows and columns of zeros that a Pad puts before an image; None for any other node."""
        if node.operator != "Pad" or node.attributes.get("mode", b"constant") != b"constant" or len(node.inputs) < 2:
            return None
        pads = self.graph.constants.get(node.inputs[1])
        filled = self._value(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else 0.0
        if pads is None or pads.values is None or len(pads.values) != 8 or filled != 0.0:
            return None
        _, _, top, left, *_ = pads.values
        return int(top), int(left)

    def _reshapes_vector(self, node: Node) -> bool:
        """Whether a pooled vector only changes its spelling; exporters write that in many ways."""
        if node.operator not in _RESHAPES:
            return False
        before, after = self.graph.shape(node.inputs[0]), self.graph.shape(node.outputs[0])
        if before is None or after is None or None in before or None in after:
            return False
        sizes = [size for size in (*before, *after) if size is not None]
        return math.prod(s or 0 for s in before) == math.prod(s or 0 for s in after) == max(sizes, default=1)

    def _name(self, name: str) -> str:
        return self._same.get(name, name)

    def only(self, tensor: str, operator: str) -> Node | None:
        """The single reader of `tensor`, if it is an `operator`."""
        readers = self.consumers[tensor]
        return readers[0] if len(readers) == 1 and readers[0].operator == operator else None

    def next_conv(self, tensor: str) -> Node | None:
        """The only convolution among the readers of `tensor`."""
        readers = [node for node in self.consumers[tensor] if node.operator == "Conv"]
        return readers[0] if len(readers) == 1 else None

    def pools(self, node: Node) -> bool:
        """Whether `node` averages an image to one pixel."""
        if node.operator == "GlobalAveragePool":
            return True
        if node.operator != "ReduceMean":
            return False
        axes = node.attributes.get("axes")
        if axes is None and len(node.inputs) > 1:
            constant = self.graph.constants.get(node.inputs[1])
            axes = None if constant is None else constant.values
        return axes is not None and sorted(int(axis) % 4 for axis in axes) == [2, 3]

    def bounds(self, clip: Node) -> tuple[float, float] | None:
        """What a Clip clips to; None where that is computed."""
        if "min" in clip.attributes or "max" in clip.attributes:
            return clip.attributes.get("min", float("-inf")), clip.attributes.get("max", float("inf"))
        values = [self._value(name) for name in clip.inputs[1:3]]
        return None if len(values) < 2 or None in values else (float(values[0] or 0), float(values[1] or 0))

    def scalar(self, node: Node) -> float | None:
        """The only constant number among the inputs of `node`."""
        values = [value for name in node.inputs if (value := self._value(name)) is not None]
        return values[0] if len(values) == 1 else None

    def _value(self, name: str) -> float | None:
        constant = self.graph.constants.get(name)
        if constant is None or constant.values is None or len(constant.values) != 1:
            return None
        return constant.values[0]
