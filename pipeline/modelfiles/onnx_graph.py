"""An ONNX model as a graph: nodes in order, the shape of every tensor, the constants."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import first_line
from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.graph import Constant, Graph, Node
from pipeline.modelfiles.inputs import fixed_shape, require_known
from pipeline.modelfiles.onnx_control import follow_control
from pipeline.modelfiles.onnx_file import kind_of
from pipeline.modelfiles.onnx_shapes import MOST_VALUES, Scope, follow
from pipeline.modelfiles.onnx_types import STANDARD_DOMAINS, sizes_of, tensor_type

if TYPE_CHECKING:
    import onnx

_DEEPEST: Final = 20  # graphs inside graphs
_MOST_GRAPHS: Final = 2000
_CONTROL: Final = frozenset({"If", "Loop", "Scan"})


def read_graph(model: "onnx.ModelProto", input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """The graph of `model` with functions inlined and shapes inferred for one image.

    An open first dimension of an input is the batch and becomes 1; other open dimensions are taken from
    `input_shapes` (name to whole shape) where it has them. Raises ModelFileError for an unknown input name, a shape
    that the file contradicts, or a graph whose shapes contradict each other.
    """
    import onnx.inliner

    if model.functions:
        try:
            model = onnx.inliner.inline_local_functions(model)
        except RuntimeError as error:
            raise ModelFileError(f"the model's functions cannot be inlined: {first_line(error)}") from None
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    shapes = input_shapes or {}
    require_known(shapes, [value.name for value in inputs])
    scope = Scope()
    for value in inputs:
        scope.types[value.name] = _fixed(value, shapes.get(value.name))
    opsets = {entry.domain.replace("ai.onnx", "", 1): entry.version for entry in model.opset_import}
    reader = _Reader(opsets, _believed(model.graph, inputs))
    graph = reader.read(model.graph, scope, {}, 0)
    return Graph(
        graph.nodes,
        graph.shapes,
        graph.constants,
        inputs=tuple(value.name for value in inputs),
        outputs=tuple(value.name for value in model.graph.output),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
    )


def _fixed(value: "onnx.ValueInfoProto", wanted: tuple[int, ...] | None) -> "onnx.TypeProto":
    if not value.type.HasField("tensor_type"):
        return value.type
    declared = sizes_of(value.type)
    # 0 is how some exporters write that a size is open.
    declared = None if declared is None else tuple(size or None for size in declared)
    return tensor_type(value.type.tensor_type.elem_type, fixed_shape(value.name, declared, wanted))


def _believed(graph: "onnx.GraphProto", inputs: Sequence["onnx.ValueInfoProto"]) -> dict[str, "onnx.TypeProto"]:
    """What the file says of inner tensors, for those that inference tells nothing of.

    Only where the file fixes its inputs: shapes beside open inputs were written for some other batch.
    """
    if any(None in (sizes_of(value.type) or (None,)) or 0 in (sizes_of(value.type) or ()) for value in inputs):
        return {}
    return {value.name: value.type for value in (*graph.value_info, *graph.output) if sizes_of(value.type) is not None}


@dataclass(frozen=True)
class _Reader:
    """Walks graphs in the order of execution, entering what is known of each node's results."""

    opsets: Mapping[str, int]
    believed: Mapping[str, "onnx.TypeProto"]
    _count: Iterator[int] = field(default_factory=count)

    def read(self, graph: "onnx.GraphProto", scope: Scope, outside: Mapping[str, Constant], depth: int) -> Graph:
        """The graph, whose inputs' types are in `scope`; the types and values of its tensors are entered there."""
        if depth > _DEEPEST or next(self._count) > _MOST_GRAPHS:
            raise ModelFileError(
                f"graphs lie inside each other more than {_DEEPEST} deep, or more than {_MOST_GRAPHS} are to follow"
            )
        constants = dict(outside)
        for name, tensor in _named_constants(graph):
            constants[name] = self._enter(name, tensor, scope)
        nodes = [self._node(node, scope, constants, depth) for node in in_order(graph.node)]
        shapes = {name: shape for name, kind in scope.types.items() if (shape := sizes_of(kind)) is not None}
        kept = tuple(node for node in nodes if node.operator != "Constant")
        return Graph(kept, shapes, constants, (), tuple(value.name for value in graph.output))

    def _enter(self, name: str, tensor: "onnx.TensorProto", scope: Scope) -> Constant:
        constant = _constant(tensor)
        scope.types[name] = tensor_type(tensor.data_type, constant.shape)
        scope.values.pop(name, None)
        if constant.elements <= MOST_VALUES and _readable(tensor):
            scope.values[name] = _array(tensor)
        return constant

    def _node(self, node: "onnx.NodeProto", scope: Scope, constants: Mapping[str, Constant], depth: int) -> Node:
        standard = node.domain in STANDARD_DOMAINS
        operator = node.op_type if standard else f"{node.domain}.{node.op_type}"
        for name in node.output:  # a name given twice means the later one
            scope.types.pop(name, None)
            scope.values.pop(name, None)
        bodies: tuple[Graph, ...] = ()
        repeats = None
        if standard and node.op_type in _CONTROL:
            flow = follow_control(node, scope, lambda g, s: self.read(g, s, constants, depth + 1))
            bodies, repeats = flow.bodies, flow.repeats
        else:
            follow(node, scope, self.opsets)
            inner = [g for a in node.attribute for g in ([a.g] if a.HasField("g") else a.graphs)]
            bodies = tuple(self.read(graph, scope.inside(), constants, depth + 1) for graph in inner)
        for name in node.output:
            if name in self.believed and None in (sizes_of(scope.types.get(name)) or (None,)):
                scope.types[name] = self.believed[name]
        outputs = tuple(node.output)
        called = node.name or next(iter(outputs), "")
        return Node(
            operator, called, tuple(node.input), outputs, _attributes(node), bodies, node.op_type == "If", repeats
        )


def _attributes(node: "onnx.NodeProto") -> dict[str, Any]:
    from onnx import AttributeProto, helper

    plain = (
        AttributeProto.FLOAT,
        AttributeProto.INT,
        AttributeProto.STRING,
        AttributeProto.FLOATS,
        AttributeProto.INTS,
    )
    return {a.name: helper.get_attribute_value(a) for a in node.attribute if a.type in plain}


def in_order(nodes: Iterable["onnx.NodeProto"]) -> list["onnx.NodeProto"]:
    """`nodes` so that each reads what an earlier one gave: some converters append theirs at the end."""
    given = list(nodes)
    maker = {name: index for index, node in enumerate(given) for name in node.output if name}
    readers: list[list[int]] = [[] for _ in given]
    missing = [0] * len(given)
    for index, node in enumerate(given):
        for source in {maker[name] for name in _reads(node) if name in maker}:
            readers[source].append(index)
            missing[index] += 1
    ready = [index for index in range(len(given)) if not missing[index]]
    done: list[int] = []
    # The file's own order wherever it is right, so that names given twice keep their meaning.
    if all(source < index for source, targets in enumerate(readers) for index in targets):
        return given
    while ready:
        index = ready.pop()
        done.append(index)
        for target in readers[index]:
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    if len(done) < len(given):
        raise ModelFileError("the graph runs in a circle")
    return [given[index] for index in done]


def _reads(node: "onnx.NodeProto") -> Iterator[str]:
    """The tensors that a node and the graphs inside it read."""
    pending = [node]
    while pending:
        one = pending.pop()
        yield from one.input
        for attribute in one.attribute:
            for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                pending.extend(graph.node)


def _named_constants(graph: "onnx.GraphProto") -> Iterator[tuple[str, "onnx.TensorProto"]]:
    from onnx import helper, numpy_helper

    for tensor in graph.initializer:
        yield tensor.name, tensor
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, sparse.values
    for node in graph.node:
        if node.op_type != "Constant" or node.domain not in STANDARD_DOMAINS or not (node.attribute and node.output):
            continue
        value = helper.get_attribute_value(node.attribute[0])
        if node.attribute[0].HasField("t"):
            yield node.output[0], value
        elif node.attribute[0].name in ("value_float", "value_floats", "value_int", "value_ints"):
            import numpy as np

            kind = np.float32 if "float" in node.attribute[0].name else np.int64
            yield node.output[0], numpy_helper.from_array(np.asarray(value, dtype=kind))


def _constant(tensor: "onnx.TensorProto") -> Constant:
    shape = tuple(tensor.dims)
    few = math.prod(shape) <= 16 and _readable(tensor)
    values = tuple(float(v) for v in _array(tensor).reshape(-1)) if few else None
    return Constant(shape, kind_of(tensor).lower(), values)


def _readable(tensor: "onnx.TensorProto") -> bool:
    """Whether it holds plain numbers, in the file itself."""
    from onnx import TensorProto

    kind = kind_of(tensor)
    foreign = kind == "STRING" or kind.startswith(
        ("COMPLEX", "FLOAT8", "FLOAT4", "FLOAT6", "INT4", "UINT4", "INT2", "UINT2")
    )
    return tensor.data_location != TensorProto.EXTERNAL and not foreign


def _array(tensor: "onnx.TensorProto") -> Any:
    from onnx import numpy_helper

    return numpy_helper.to_array(tensor)
