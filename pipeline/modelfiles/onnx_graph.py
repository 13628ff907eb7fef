"""An ONNX file as a graph: nodes in order, the shape of every tensor, the constants."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.modelfiles.errors import ModelFileError
from pipeline.modelfiles.graph import Constant, Graph, Node, Shape

if TYPE_CHECKING:
    import onnx

_STANDARD_DOMAINS = ("", "ai.onnx")
_TELLS_SHAPES = 17  # the oldest opset in which ONNX follows a shape through Shape, Slice and Concat to a Reshape
_SMALL = 64  # elements up to which a constant may tell shape inference something, such as a Reshape's target


def load_model(path: Path) -> "onnx.ModelProto":
    """The file at `path`, its weights stored beside it left where they are; ModelFileError where it is no ONNX."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError:
        raise ModelFileError(f"{path} is not an ONNX file") from None
    if not model.graph.node:
        raise ModelFileError(f"{path} is not an ONNX model: it has no operators")
    return model


def external_files(model: "onnx.ModelProto", folder: Path) -> tuple[Path, ...]:
    """Files beside the model that hold weights; ModelFileError names one that is missing."""
    names = {
        entry.value for tensor in _tensors(model.graph) for entry in tensor.external_data if entry.key == "location"
    }
    files = tuple(folder / name for name in sorted(names))
    for file in files:
        if not file.is_file():
            raise ModelFileError(f"weights file {file} is missing; it belongs to the model beside it")
    return files


def read_graph(model: "onnx.ModelProto", input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    """The graph of `model` with functions inlined and shapes inferred for one image.

    An open first dimension of an input is the batch and becomes 1; other open dimensions are taken from
    `input_shapes` (name to whole shape) where it has them. Raises ModelFileError for an unknown input name or a
    graph whose shapes contradict each other.
    """
    import onnx
    import onnx.inliner

    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    _check_inputs(model, input_shapes or {})
    graph = _inferred(_without_weights(model, input_shapes or {}))
    constants = {name: _constant(tensor) for name, tensor in _named_constants(model.graph)}
    shapes = _shapes(graph)
    return Graph(
        nodes=_nodes(graph, shapes, constants),
        shapes=shapes,
        constants=constants,
        inputs=tuple(value.name for value in graph.input if value.name not in constants),
        outputs=tuple(value.name for value in graph.output),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
    )


def _check_inputs(model: "onnx.ModelProto", shapes: Mapping[str, tuple[int, ...]]) -> None:
    stored = {tensor.name for tensor in model.graph.initializer}
    known = [value.name for value in model.graph.input if value.name not in stored]
    unknown = sorted(set(shapes) - set(known))
    if unknown:
        raise ModelFileError(f"the model has no input {unknown[0]!r}; its inputs are {', '.join(known)}")


def _inferred(thin: "onnx.ModelProto") -> "onnx.GraphProto":
    """The graph with its shapes; ModelFileError where they contradict each other."""
    import onnx
    from onnx import version_converter

    try:
        fixed = onnx.shape_inference.infer_shapes(thin, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelFileError(f"the shapes of the graph contradict each other: {_first_line(error)}") from None
    known = {name for name, shape in _shapes(fixed.graph).items() if None not in shape}
    opset = next((entry.version for entry in thin.opset_import if entry.domain in _STANDARD_DOMAINS), 0)
    if opset >= _TELLS_SHAPES or known.issuperset(name for node in fixed.graph.node for name in node.output if name):
        return fixed.graph
    try:
        newer = version_converter.convert_version(thin, _TELLS_SHAPES)
        more = onnx.shape_inference.infer_shapes(newer, data_prop=True).graph
    except Exception:  # the converter raises whatever its C++ does; the older opset then has to do
        return fixed.graph
    fixed.graph.value_info.extend(value for value in (*more.value_info, *more.output) if value.name not in known)
    return fixed.graph


def _without_weights(model: "onnx.ModelProto", shapes: Mapping[str, tuple[int, ...]]) -> "onnx.ModelProto":
    """The model for shape inference: batch 1, large weights replaced by inputs of their shape, which are quick to copy.

    Shapes that the file states for inner tensors and outputs are left out: they were written for its own batch.
    """
    import onnx
    from onnx import TensorProto, helper

    thin = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    thin.graph.name = model.graph.name
    thin.graph.node.extend(_in_order(model.graph.node))
    for value in model.graph.input:
        _fix_input(thin.graph.input.add(), value, shapes.get(value.name))
    for value in model.graph.output:
        output = thin.graph.output.add()
        output.CopyFrom(value)
        output.type.tensor_type.ClearField("shape")
    listed = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL and tensor.data_location != TensorProto.EXTERNAL:
            thin.graph.initializer.append(tensor)
        elif tensor.name not in listed:
            thin.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return thin


def _in_order(nodes: Iterable["onnx.NodeProto"]) -> list["onnx.NodeProto"]:
    """`nodes` so that each reads what an earlier one gave: some converters append theirs at the end."""
    waiting = list(nodes)
    unmade = {name for node in waiting for name in node.output}
    done: list[onnx.NodeProto] = []
    while waiting:
        ready = []
        for node in waiting:
            if unmade.isdisjoint(node.input):
                ready.append(node)
                unmade.difference_update(node.output)
        if not ready:
            raise ModelFileError("the graph runs in a circle")
        done += ready
        taken = set(map(id, ready))
        waiting = [node for node in waiting if id(node) not in taken]
    return done


def _fix_input(target: "onnx.ValueInfoProto", value: "onnx.ValueInfoProto", wanted: tuple[int, ...] | None) -> None:
    target.CopyFrom(value)
    dimensions = target.type.tensor_type.shape.dim
    if wanted is not None:
        del dimensions[:]
        for size in wanted:
            dimensions.add().dim_value = size
    elif dimensions and not dimensions[0].HasField("dim_value"):
        dimensions[0].ClearField("dim_param")
        dimensions[0].dim_value = 1


def _tensors(graph: "onnx.GraphProto") -> Iterator["onnx.TensorProto"]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _named_constants(graph: "onnx.GraphProto") -> Iterator[tuple[str, "onnx.TensorProto"]]:
    from onnx import helper, numpy_helper

    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type != "Constant" or node.domain not in _STANDARD_DOMAINS:
            continue
        value = helper.get_attribute_value(node.attribute[0])
        if node.attribute[0].HasField("t"):
            yield node.output[0], value
        elif node.attribute[0].name in ("value_float", "value_floats", "value_int", "value_ints"):
            import numpy as np

            kind = np.float32 if "float" in node.attribute[0].name else np.int64
            yield node.output[0], numpy_helper.from_array(np.asarray(value, dtype=kind))


def _constant(tensor: "onnx.TensorProto") -> Constant:
    from onnx import TensorProto, numpy_helper

    shape = tuple(tensor.dims)
    stored_here = tensor.data_location != TensorProto.EXTERNAL
    kind = TensorProto.DataType.Name(tensor.data_type).lower()
    few = math.prod(shape) <= 16 and stored_here and kind != "string"
    values = tuple(float(v) for v in numpy_helper.to_array(tensor).reshape(-1)) if few else None
    return Constant(shape, kind, values)


def _nodes(
    graph: "onnx.GraphProto", shapes: Mapping[str, Shape], constants: Mapping[str, Constant]
) -> tuple[Node, ...]:
    return tuple(_node(node, shapes, constants) for node in graph.node if node.op_type != "Constant")


def _node(node: "onnx.NodeProto", shapes: Mapping[str, Shape], constants: Mapping[str, Constant]) -> Node:
    from onnx import helper

    standard = node.domain in _STANDARD_DOMAINS
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return Node(
        operator=node.op_type if standard else f"{node.domain}.{node.op_type}",
        name=node.name or (node.output[0] if node.output else ""),
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
        bodies=tuple(_body(entry.g, shapes, constants) for entry in node.attribute if entry.HasField("g")),
    )


def _body(graph: "onnx.GraphProto", shapes: Mapping[str, Shape], constants: Mapping[str, Constant]) -> Graph:
    """A branch or a loop's body, which sees everything around it."""
    shapes = {**shapes, **_shapes(graph)}
    constants = {**constants, **{name: _constant(tensor) for name, tensor in _named_constants(graph)}}
    return Graph(_nodes(graph, shapes, constants), shapes, constants, (), ())


def _shapes(graph: "onnx.GraphProto") -> dict[str, Shape]:
    values = (*graph.input, *graph.output, *graph.value_info)
    return {value.name: _shape(value) for value in values if value.type.tensor_type.HasField("shape")}


def _shape(value: "onnx.ValueInfoProto") -> Shape:
    return tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
