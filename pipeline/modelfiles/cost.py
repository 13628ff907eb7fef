"""Multiply-accumulates and parameters of a graph, by rules for the operators of its format.

Each operator that multiplies has its counter in one dict; operators that do not are listed. Anything else is
unsupported: it is counted and named, never taken as free.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.modelfiles.graph import Constant, Graph, Node, Shape

CostCounter = Callable[[Graph, Node], int]


@dataclass(frozen=True, slots=True)
class CostRules:
    """What the operators of one format cost.

    `counters` give the MACs of operators that multiply, `free` lists those that multiply at most once per value
    (elementwise, normalising, pooling, shapes). `settings` are the inputs of an operator that tell it what to do
    instead of being learned; constants of the kinds `not_weights` never are.
    """

    counters: Mapping[str, CostCounter]
    free: frozenset[str]
    settings: Mapping[str, frozenset[int]]
    not_weights: frozenset[str]


@dataclass(frozen=True, slots=True)
class GraphCost:
    """`macs` of one image and `params` stored as weights; `unsupported` maps operators to how many there are.

    `macs` is a lower bound where `unsupported` is not empty.
    """

    macs: int
    params: int
    macs_by_operator: Mapping[str, int]
    unsupported: Mapping[str, int]


class _UnknownShape(Exception):
    """A counter needs a shape that the file does not tell."""


def graph_cost(graph: Graph, rules: CostRules) -> GraphCost:
    """What `graph` costs for one image. Control flow is free where nothing in it multiplies, else unsupported."""
    macs: Counter[str] = Counter()
    unsupported: Counter[str] = Counter()
    for node in graph.nodes:
        if node.bodies:
            inside = [graph_cost(body, rules) for body in node.bodies]
            if any(cost.macs or cost.unsupported for cost in inside):
                unsupported[node.operator] += 1
            continue
        counter = rules.counters.get(node.operator)
        if counter is None:
            if node.operator not in rules.free:
                unsupported[node.operator] += 1
            continue
        try:
            macs[node.operator] += counter(graph, node)
        except _UnknownShape:
            unsupported[f"{node.operator} of unknown shape"] += 1
    params = sum(weight.elements for weight in _weights(graph, rules).values())
    return GraphCost(sum(macs.values()), params, dict(macs), dict(sorted(unsupported.items())))


def _weights(graph: Graph, rules: CostRules) -> dict[int, Constant]:
    """All constants that are weights, in every branch, by identity: one that several nodes read counts once."""
    weights: dict[int, Constant] = {}
    for node in graph.nodes:
        for body in node.bodies:
            weights |= _weights(body, rules)
        settings = rules.settings.get(node.operator, frozenset())
        for index, name in enumerate(node.inputs):
            constant = graph.constants.get(name)
            if constant is None or index in settings or constant.kind in rules.not_weights:
                continue
            # A lone number beside an elementwise operator is arithmetic (x / 6), not a weight.
            if constant.shape or node.operator.lower().endswith("prelu"):
                weights[id(constant)] = constant
    return weights


def input_shape(graph: Graph, node: Node, index: int) -> tuple[int, ...]:
    """The shape of an input for a counter; the operator counts as unsupported where it is not known."""
    return _known(graph.shape(node.inputs[index]) if index < len(node.inputs) else None)


def output_shape(graph: Graph, node: Node) -> tuple[int, ...]:
    """The shape of the first output, likewise."""
    return _known(graph.shape(node.outputs[0]))


def filtered(weight: int) -> CostCounter:
    """Each output value is a sum over one filter: the weight's shape is (outputs, everything summed over…)."""
    return lambda graph, node: math.prod(output_shape(graph, node)) * math.prod(input_shape(graph, node, weight)[1:])


def transposed(graph: Graph, node: Node) -> int:
    """Each input value is spread over one filter: (inputs, outputs / groups, kernel…)."""
    return math.prod(input_shape(graph, node, 0)) * math.prod(input_shape(graph, node, 1)[1:])


def multiplied(graph: Graph, node: Node) -> int:
    """A product of matrices: each output value is a sum over the first's last dimension."""
    return math.prod(output_shape(graph, node)) * input_shape(graph, node, 0)[-1]


def recurrent(gates: int) -> CostCounter:
    """Per step and direction: `gates` matrices on the input and as many on the hidden state (ONNX's layout)."""

    def counter(graph: Graph, node: Node) -> int:
        steps, batch, features = input_shape(graph, node, 0)
        directions, rows, _ = input_shape(graph, node, 1)
        return steps * batch * directions * rows * (features + rows // gates)

    return counter


def _known(shape: Shape | None) -> tuple[int, ...]:
    if shape is None:
        raise _UnknownShape
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) != len(shape):
        raise _UnknownShape
    return sizes
