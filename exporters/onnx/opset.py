"""Writing a model of opset 18 or later in an older one: torch's newer exporter has none below 18."""

from typing import TYPE_CHECKING, Any, Final

from exporters.errors import ConversionFailed

if TYPE_CHECKING:
    import onnx

EXPORTED: Final = 18
# Operators that did not exist before this opset.
SINCE: Final = {"LayerNormalization": 17, "GridSample": 16, "Mish": 18, "BitwiseAnd": 18}
HARD_SWISH: Final = 14
REDUCTIONS: Final = frozenset(
    f"Reduce{what}" for what in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
)
# Attributes that a later version of the operator added, with the opset that has them.
ADDED: Final = {
    "Reshape": {"allowzero": 14},
    "Resize": {"antialias": 18, "axes": 18, "keep_aspect_ratio_policy": 18},
    "BatchNormalization": {"training_mode": 14},
    "Shape": {"start": 15, "end": 15},
    "ScatterND": {"reduction": 16},
    "ScatterElements": {"reduction": 16},
}


def lowered(model: "onnx.ModelProto", opset: int) -> "onnx.ModelProto":
    """`model`, folded, of the asked opset; ConversionFailed where an operator has no older form.

    The result is to be checked: what is lowered here are the operators that image classifiers use.
    """
    import onnx

    (current,) = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if current <= opset:
        return model
    shapes = onnx.shape_inference.infer_shapes(model, data_prop=True)
    constants = {entry.name: onnx.numpy_helper.to_array(entry) for entry in model.graph.initializer}
    if opset < HARD_SWISH:
        _hard_swish_in_parts(model)
    for node in model.graph.node:
        since = SINCE.get(node.op_type, 0)
        if opset < since:
            raise ConversionFailed(f"onnx: {node.op_type} needs opset {since}; ask for that or a later one")
    for node in model.graph.node:
        _drop_added(node, opset, constants)
        if node.op_type in REDUCTIONS:
            _axes_as_attribute(node, constants)
        if node.op_type == "Split":
            _sizes_of_parts(node, model, shapes)
    for entry in model.opset_import:
        entry.version = opset if entry.domain in ("", "ai.onnx") else entry.version
    # Versions of the file format itself go with opsets; runtimes of an opset's time refuse later ones.
    model.ir_version = min(model.ir_version, 8)
    return model


def _hard_swish_in_parts(model: "onnx.ModelProto") -> None:
    """x * HardSigmoid(x), which is what it means."""
    import onnx

    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        if node.op_type == "HardSwish":
            gate = f"{node.output[0]}_gate"
            hard = onnx.helper.make_node("HardSigmoid", node.input, [gate], f"{node.name}_gate", alpha=1 / 6, beta=0.5)
            model.graph.node.append(hard)
            node = onnx.helper.make_node("Mul", [node.input[0], gate], node.output, node.name)
        model.graph.node.append(node)


def _drop_added(node: "onnx.NodeProto", opset: int, constants: dict[str, Any]) -> None:
    added = ADDED.get(node.op_type, {})
    if node.op_type == "Reshape" and 0 not in constants.get(node.input[1], [0]):
        node.ClearField("attribute")  # allowzero says what a 0 in the shape means
    for attribute in list(node.attribute):
        if added.get(attribute.name, 0) > opset:
            if attribute.name == "axes" or attribute.i or attribute.s not in (b"", b"stretch", b"none"):
                raise ConversionFailed(
                    f"onnx: {node.op_type}'s {attribute.name} needs opset {added[attribute.name]}; ask for that"
                )
            node.attribute.remove(attribute)


def _axes_as_attribute(node: "onnx.NodeProto", constants: dict[str, Any]) -> None:
    import onnx

    for attribute in [entry for entry in node.attribute if entry.name == "noop_with_empty_axes"]:
        node.attribute.remove(attribute)
    if len(node.input) < 2:
        return
    axes = constants.get(node.input.pop())
    if axes is None:
        raise ConversionFailed(f"onnx: {node.op_type} over computed axes needs opset 18; ask for that or a later one")
    node.attribute.append(onnx.helper.make_attribute("axes", [int(axis) for axis in axes.reshape(-1)]))


def _sizes_of_parts(node: "onnx.NodeProto", model: "onnx.ModelProto", shapes: "onnx.ModelProto") -> None:
    """Split into so many parts (opset 18) as sizes, which every opset has."""
    import numpy as np
    import onnx

    counts = [entry for entry in node.attribute if entry.name == "num_outputs"]
    axis = next((entry.i for entry in node.attribute if entry.name == "axis"), 0)
    if not counts:
        return
    node.attribute.remove(counts[0])
    if len(node.input) > 1:
        return
    known = {value.name: value for value in (*shapes.graph.value_info, *shapes.graph.output)}
    sizes = [known[name].type.tensor_type.shape.dim[axis].dim_value for name in node.output]
    name = f"{node.output[0]}_sizes"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(sizes, dtype=np.int64), name))
    node.input.append(name)
