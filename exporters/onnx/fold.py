"""What depends on weights alone is computed once, at export: a phone should not do it for every image."""

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import onnx

# Random numbers are no constants, and DequantizeLinear of constants is how a QDQ model stores its weights.
KEPT: Final = frozenset({"DequantizeLinear", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"})


def folded(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """`model` (any opset) with constants as initializers, computed ones included, and nothing left unused.

    Torch leaves a dozen nodes before a Pad, so that its margins seem to depend on the image; a convolution then
    pads by itself.

    Results are ONNX Runtime's, without any of its own optimisations.
    """
    _constants_as_initializers(model)
    constant = {initializer.name for initializer in model.graph.initializer}
    foldable = []
    for node in model.graph.node:
        inner = any(attribute.HasField("g") for attribute in node.attribute)
        if node.input and not inner and node.op_type not in KEPT and constant.issuperset(filter(None, node.input)):
            foldable.append(node)
            constant.update(node.output)
    if foldable:
        _compute(model, foldable)
    _fold_pads(model)
    drop_unused(model)
    return model


def _constants_as_initializers(model: "onnx.ModelProto") -> None:
    """Constants as initializers, which phones' providers want, and no Identity in front of a shared one."""
    from onnx import numpy_helper

    constants = {initializer.name for initializer in model.graph.initializer}
    renamed: dict[str, str] = {}
    outputs = {output.name for output in model.graph.output}
    for node in list(model.graph.node):
        if node.op_type == "Identity" and node.input[0] in constants and node.output[0] not in outputs:
            renamed[node.output[0]] = node.input[0]
        elif node.op_type == "Constant":
            (attribute,) = node.attribute
            tensor = attribute.t if attribute.HasField("t") else numpy_helper.from_array(_plain(attribute))
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
        else:
            continue
        model.graph.node.remove(node)
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def _plain(attribute: "onnx.AttributeProto") -> np.ndarray[Any, Any]:
    """The value of a Constant that is written as numbers."""
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    return np.asarray(value, dtype=np.float32 if "float" in attribute.name else np.int64)


def _compute(model: "onnx.ModelProto", foldable: "list[onnx.NodeProto]") -> None:
    """Replace the nodes, in order of execution, by their results."""
    import onnx
    import onnxruntime
    from onnx import numpy_helper

    inside = {name for node in foldable for name in node.input}
    made = [name for node in foldable for name in node.output if name]
    gone = {id(node) for node in foldable}
    read = {name for node in model.graph.node if id(node) not in gone for name in node.input}
    read |= {output.name for output in model.graph.output}
    wanted = [name for name in made if name in read]
    graph = onnx.helper.make_graph(
        foldable,
        "constants",
        [],
        [onnx.ValueInfoProto(name=name) for name in wanted],
        [initializer for initializer in model.graph.initializer if initializer.name in inside],
    )
    part = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for name, value in zip(wanted, session.run(wanted, {}), strict=True):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    for node in foldable:
        model.graph.node.remove(node)


def drop_unused(model: "onnx.ModelProto") -> None:
    """Remove the initializers that no node reads."""
    used = {name for node in model.graph.node for name in node.input} | {output.name for output in model.graph.output}
    for entry in [entry for entry in model.graph.initializer if entry.name not in used]:
        model.graph.initializer.remove(entry)


def _fold_pads(model: "onnx.ModelProto") -> None:
    """Make every Pad of zeros, whose only reader is a convolution, that convolution's own padding."""
    from onnx import helper, numpy_helper

    constants = {entry.name: entry for entry in model.graph.initializer}
    readers = Counter(name for node in model.graph.node for name in node.input)
    written = {name: node for node in model.graph.node for name in node.output}
    for conv in [node for node in model.graph.node if node.op_type == "Conv"]:
        pad = written.get(conv.input[0])
        if pad is None or pad.op_type != "Pad" or readers[pad.output[0]] != 1 or not _is_zeros(pad, constants):
            continue
        extra = numpy_helper.to_array(constants[pad.input[1]]).tolist()
        if len(extra) != 8 or any(extra[:2] + extra[4:6]):
            continue  # batch or channels are padded too
        around = [*extra[2:4], *extra[6:8]]
        own = next((list(attribute.ints) for attribute in conv.attribute if attribute.name == "pads"), [0] * 4)
        kept = [attribute for attribute in conv.attribute if attribute.name != "pads"]
        del conv.attribute[:]
        conv.attribute.extend([*kept, helper.make_attribute("pads", [a + b for a, b in zip(own, around, strict=True)])])
        conv.input[0] = pad.input[0]
        model.graph.node.remove(pad)


def _is_zeros(pad: "onnx.NodeProto", constants: "dict[str, onnx.TensorProto]") -> bool:
    """Whether a Pad fills known places with zeros."""
    from onnx import numpy_helper

    mode = next((attribute.s for attribute in pad.attribute if attribute.name == "mode"), b"constant")
    if mode != b"constant" or len(pad.input) < 2 or pad.input[1] not in constants:
        return False
    value = pad.input[2] if len(pad.input) > 2 else ""
    return not value or (value in constants and not numpy_helper.to_array(constants[value]).any())
