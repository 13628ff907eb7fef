"""Multiply-accumulates and parameters of a graph, by rules for the operators of its format.

Each operator that multiplies has its counter in one dict; operators that do not are listed. Anything else is
unsupported: it is counted and named, never taken as free.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.modelfiles.errors import Contradiction, ModelFileError
from pipeline.modelfiles.graph import Graph, Node, Shape

CostCounter = Callable[[Graph, Node], int]


@dataclass(frozen=True, slots=True)
class CostRules:
    """What the operators of one format cost.

    `counters` give the MACs of operators that multiply, `free` lists those that multiply at most once per value
    (elementwise, normalising, pooling, shapes). `settings` are the inputs of an operator that tell it what to do
    instead of being learned; constants of the kinds `not_weights` never are. `packed` tells of weights that hold
    several numbers in each stored one: which input, and the attributes whose product is how many.
    """

    counters: Mapping[str, CostCounter]
    free: frozenset[str]
    settings: Mapping[str, frozenset[int]]
    not_weights: frozenset[str]
    packed: Mapping[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GraphCost:
    """What one run costs: at least `macs` and, where nothing is `unsupported`, at most `macs_most`.

    The two differ where the input decides which branch runs. `params` are the numbers stored as weights;
    `unsupported` maps operators that could not be counted to how many there are.
    """

    macs: int
    params: int
    unsupported: Mapping[str, int] = field(default_factory=dict)
    macs_most: int | None = None

    @property
    def exact(self) -> bool:
        """Whether `macs` is the whole truth."""
        return not self.unsupported and self.macs_most in (None, self.macs)


class Uncountable(Exception):
    """A counter's way to say that the file does not tell enough; `why` stands behind the operator's name."""

    def __init__(self, why: str = " of unknown shape") -> None:
        super().__init__(why)
        self.why = why


def graph_cost(graph: Graph, rules: CostRules, ignored: Sequence[str] = ()) -> GraphCost:
    """What one run of `graph` costs; operators named in `ignored` are taken as free where they cannot be counted.

    Raises Contradiction where the shapes of a node do not fit each other.
    """
    least = most = 0
    unsupported: Counter[str] = Counter()
    for node in graph.nodes:
        counter = rules.counters.get(node.operator)
        if node.bodies:
            found = _flow_cost(node, rules, ignored)
        elif counter is not None:
            found = _counted(graph, node, counter, ignored)
        elif node.operator in rules.free or node.operator in ignored:
            continue
        else:
            found = GraphCost(0, 0, unsupported={node.operator: 1})
        least += found.macs
        most += found.macs if found.macs_most is None else found.macs_most
        unsupported.update(found.unsupported)
    params = sum(_weights(graph, rules).values())
    return GraphCost(least, params, dict(sorted(unsupported.items())), most)


def _counted(graph: Graph, node: Node, counter: CostCounter, ignored: Sequence[str]) -> GraphCost:
    try:
        return GraphCost(counter(graph, node), 0)
    except Uncountable as error:
        called = f"{node.operator}{error.why}"  # as messages show it, so that is accepted too
        taken = node.operator in ignored or called in ignored
        return GraphCost(0, 0) if taken else GraphCost(0, 0, unsupported={called: 1})
    except (ValueError, IndexError, TypeError) as error:
        if isinstance(error, ModelFileError):
            raise
        shapes = ", ".join(str(graph.shape(name)) for name in node.inputs if name)
        raise ModelFileError(f"{node.operator} {node.name!r} cannot compute with inputs of shapes {shapes}") from None


def _flow_cost(node: Node, rules: CostRules, ignored: Sequence[str]) -> GraphCost:
    """Control flow: between the cheapest and the dearest branch, or so many times the body."""
    inside = _branches(node, rules, ignored) if node.exclusive else [graph_cost(b, rules, ignored) for b in node.bodies]
    if all(cost.exact and not cost.macs for cost in inside):
        return GraphCost(0, 0)
    if any(cost.unsupported for cost in inside) or (node.repeats is None and not node.exclusive):
        if node.operator in ignored:
            return GraphCost(0, 0)
        named = {name: n for cost in inside for name, n in cost.unsupported.items()}
        return GraphCost(0, 0, unsupported=named or {node.operator: 1})
    most = [cost.macs if cost.macs_most is None else cost.macs_most for cost in inside]
    if node.exclusive:
        return GraphCost(min(cost.macs for cost in inside), 0, macs_most=max(most))
    times = node.repeats or 0
    return GraphCost(times * sum(cost.macs for cost in inside), 0, macs_most=times * sum(most))


def _branches(node: Node, rules: CostRules, ignored: Sequence[str]) -> list[GraphCost]:
    """What each branch costs. One whose shapes contradict each other is not the one that runs, if another can."""
    found, wrong = [], None
    for body in node.bodies:
        try:
            found.append(graph_cost(body, rules, ignored))
        except Contradiction as error:
            wrong = error
    if wrong is not None and not found:
        raise wrong
    return found


def _weights(graph: Graph, rules: CostRules) -> dict[int, int]:
    """How many numbers each weight holds, in every branch, by identity: one that several nodes read counts once."""
    weights: dict[int, int] = {}
    for node in graph.nodes:
        for body in node.bodies:
            weights |= _weights(body, rules)
        settings = rules.settings.get(node.operator, frozenset())
        packed_at, sizes = rules.packed.get(node.operator, (-1, ()))
        for index, name in enumerate(node.inputs):
            constant = graph.constants.get(name)
            if constant is None or index in settings or constant.kind in rules.not_weights:
                continue
            if index == packed_at:
                weights[id(constant)] = math.prod(int(node.attributes.get(size, 0)) for size in sizes)
            # A lone number beside an elementwise operator is arithmetic (x / 6), not a weight.
            elif constant.shape or node.operator.lower().endswith("prelu"):
                weights[id(constant)] = constant.elements
    return weights


def input_shape(graph: Graph, node: Node, index: int) -> tuple[int, ...]:
    """The shape of an input for a counter; the operator counts as unsupported where it is not known."""
    return _known(graph.shape(node.inputs[index]) if index < len(node.inputs) else None)


def output_shape(graph: Graph, node: Node) -> tuple[int, ...]:
    """The shape of the first output, likewise, and where nothing is computed, as by a window that does not fit."""
    shape = _known(graph.shape(node.outputs[0]) if node.outputs else None)
    if 0 in shape:
        raise Uncountable(" of an empty result")
    return shape


def has_input(node: Node, index: int) -> bool:
    """Whether an optional input is given."""
    return index < len(node.inputs) and bool(node.inputs[index])


def require_same(node: Node, what: str, *sizes: int) -> None:
    """Contradiction unless all sizes are one."""
    if len(set(sizes)) > 1:
        told = " and ".join(str(size) for size in dict.fromkeys(sizes))
        raise Contradiction(f"{node.operator} {node.name!r} contradicts itself: {what} are {told}")


def filtered(weight: int) -> CostCounter:
    """Each output value is a sum over one filter: the weight's shape is (outputs, everything summed over…)."""
    return lambda graph, node: math.prod(output_shape(graph, node)) * math.prod(input_shape(graph, node, weight)[1:])


def multiplied(first: int, second: int, turn_first: str = "", turn_second: str = "") -> CostCounter:
    """A product of matrices: each output value is a sum over the first's columns, which are the second's rows.

    `turn_first` and `turn_second` name the attributes that transpose an input.
    """

    def counter(graph: Graph, node: Node) -> int:
        one, two = input_shape(graph, node, first), input_shape(graph, node, second)
        inner = one[-2 if node.attributes.get(turn_first) else -1]
        rows = two[-1] if len(two) == 1 or node.attributes.get(turn_second) else two[-2]
        require_same(node, "columns of one matrix and rows of the other", inner, rows)
        return math.prod(output_shape(graph, node)) * inner

    return counter


def _known(shape: Shape | None) -> tuple[int, ...]:
    if shape is None:
        raise Uncountable
    sizes = tuple(size for size in shape if size is not None)
    if len(sizes) != len(shape):
        raise Uncountable
    return sizes
