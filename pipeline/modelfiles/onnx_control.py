"""ONNX's control flow: which graphs run, how often, and what is known of their results."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipeline.modelfiles.errors import Contradiction
from pipeline.modelfiles.graph import Graph
from pipeline.modelfiles.onnx_types import merged, sizes_of, tensor_type

if TYPE_CHECKING:
    import onnx

    from pipeline.modelfiles.onnx_shapes import Scope

Read = Callable[["onnx.GraphProto", "Scope"], Graph]
_PASSES: Final = 4  # until the sizes that a loop carries no longer change


@dataclass(frozen=True, slots=True)
class Flow:
    """The graphs that a node may run, and how often each does (None: not known)."""

    bodies: tuple[Graph, ...]
    repeats: int | None


def follow_control(node: "onnx.NodeProto", scope: "Scope", read: Read) -> Flow:
    """Enter what is known of the results of an If, Loop or Scan into `scope`."""
    attributes = {a.name: a for a in node.attribute}
    if node.op_type == "If" and {"then_branch", "else_branch"} <= attributes.keys():
        return _if(node, attributes, scope, read)
    if "body" not in attributes:
        return Flow((), None)
    body = attributes["body"].g
    if node.op_type == "Loop":
        return _loop(node, body, scope, read)
    return _scan(node, body, attributes, scope, read)


def _if(node: "onnx.NodeProto", attributes: dict[str, Any], scope: "Scope", read: Read) -> Flow:
    condition = scope.values.get(node.input[0]) if node.input else None
    branches = [attributes["then_branch"].g, attributes["else_branch"].g]
    if condition is not None and condition.size == 1:
        branches = [branches[0] if bool(condition.reshape(-1)[0]) else branches[1]]
    branches, scopes, bodies = _possible(branches, scope, read)
    for place, name in enumerate(node.output):
        kinds, values = [], []
        for graph, inner in zip(branches, scopes, strict=True):
            given = graph.output[place].name if place < len(graph.output) else ""
            kinds.append(inner.types.get(given))
            values.append(inner.values.get(given))
        kind = kinds[0] if len(kinds) == 1 else merged(kinds[0], kinds[1])
        if kind is not None:
            scope.types[name] = kind
        if len(values) == 1 and values[0] is not None:
            scope.values[name] = values[0]
    return Flow(bodies, 1)


def _possible(
    branches: list["onnx.GraphProto"], scope: "Scope", read: Read
) -> tuple[list["onnx.GraphProto"], list["Scope"], tuple[Graph, ...]]:
    """The branches whose shapes fit: another cannot be the one that runs. Raises Contradiction where none is left."""
    kept, scopes, bodies, wrong = [], [], [], None
    for graph in branches:
        inner = scope.inside()
        try:
            bodies.append(read(graph, inner))
        except Contradiction as error:
            wrong = error
            continue
        kept.append(graph)
        scopes.append(inner)
    if wrong is not None and not kept:
        raise wrong
    return kept, scopes, tuple(bodies)


def _loop(node: "onnx.NodeProto", body: "onnx.GraphProto", scope: "Scope", read: Read) -> Flow:
    import numpy as np
    from onnx import TensorProto

    trips = _whole(scope.values.get(node.input[0])) if node.input and node.input[0] else None
    first = scope.values.get(node.input[1]) if len(node.input) > 1 and node.input[1] else np.asarray(True)
    carried = [scope.types.get(name) for name in node.input[2:]]
    names = [value.name for value in body.input]
    for _ in range(_PASSES):
        inner = scope.inside()
        _forget(inner, names)
        if len(names) > 1:
            inner.types[names[0]] = tensor_type(TensorProto.INT64, ())
            inner.types[names[1]] = tensor_type(TensorProto.BOOL, ())
            if first is not None:
                inner.values[names[1]] = np.asarray(first)
        for name, kind in zip(names[2:], carried, strict=False):
            if kind is not None:
                inner.types[name] = kind
        graph = read(body, inner)
        after = [inner.types.get(value.name) for value in body.output[1 : 1 + len(carried)]]
        joined = [merged(a, b) for a, b in zip(carried, after, strict=False)]
        if [sizes_of(kind) for kind in joined] == [sizes_of(kind) for kind in carried]:
            break
        carried = [*joined, *carried[len(joined) :]]
    else:
        return Flow((graph,), None)
    stays = body.output and inner.values.get(body.output[0].name)
    runs = trips if first is not None and bool(np.all(first)) and stays is not None and bool(np.all(stays)) else None
    for place, name in enumerate(node.output):
        kind = carried[place] if place < len(carried) else None
        if place >= len(carried) and place + 1 < len(body.output):
            kind = _stacked(inner.types.get(body.output[place + 1].name), runs)
        if name and kind is not None:
            scope.types[name] = kind
    return Flow((graph,), runs)


def _scan(
    node: "onnx.NodeProto", body: "onnx.GraphProto", attributes: dict[str, Any], scope: "Scope", read: Read
) -> Flow:
    """As since opset 9, along the first axis; along others the number of steps is not followed."""
    count = attributes["num_scan_inputs"].i if "num_scan_inputs" in attributes else 0
    states = len(node.input) - count
    plain = not any(any(a.ints) for name, a in attributes.items() if name.endswith("_axes"))
    inner = scope.inside()
    names = [value.name for value in body.input]
    _forget(inner, names)
    steps: set[int | None] = set()
    for place, (name, source) in enumerate(zip(names, node.input, strict=False)):
        kind = scope.types.get(source)
        sizes = sizes_of(kind)
        if place < states:
            if kind is not None:
                inner.types[name] = kind
        elif kind is not None and sizes:
            steps.add(sizes[0])
            inner.types[name] = tensor_type(kind.tensor_type.elem_type, sizes[1:])
    graph = read(body, inner)
    runs = steps.pop() if plain and count > 0 and len(steps) == 1 else None
    for place, name in enumerate(node.output):
        kind = inner.types.get(body.output[place].name) if plain and place < len(body.output) else None
        if place >= states:
            kind = _stacked(kind, runs)
        if name and kind is not None:
            scope.types[name] = kind
    return Flow((graph,), runs)


def _stacked(kind: "onnx.TypeProto | None", runs: int | None) -> "onnx.TypeProto | None":
    sizes = sizes_of(kind)
    return None if kind is None or sizes is None else tensor_type(kind.tensor_type.elem_type, (runs, *sizes))


def _forget(scope: "Scope", names: list[str]) -> None:
    for name in names:
        scope.types.pop(name, None)
        scope.values.pop(name, None)


def _whole(value: Any) -> int | None:
    number = None if value is None or value.size != 1 else int(value.reshape(-1)[0])
    return number if number is not None and 0 <= number <= 2**40 else None
