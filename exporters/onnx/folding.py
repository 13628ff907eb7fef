"""What an exported graph computes without any image is computed once, here."""

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def fold_constants(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """`model` with every node that reads nothing but constants replaced by what it gives.

    torch leaves a dozen of them before a Pad, so that the widths of its margins seem to depend on the image.
    """
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    known = {entry.name: entry for entry in model.graph.initializer}
    for node in list(model.graph.node):
        if not node.input or not all(name in known or not name for name in node.input):
            continue
        feeds = {name: numpy_helper.to_array(known[name]) for name in node.input if name}
        results = ReferenceEvaluator(node).run(None, feeds)
        for name, value in zip(node.output, results, strict=True):
            known[name] = numpy_helper.from_array(value, name)
            model.graph.initializer.append(known[name])
        model.graph.node.remove(node)
    return _without_unused(model)


def fold_pads(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """`model` with every Pad of zeros, whose only reader is a convolution, made that convolution's own padding."""
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
    return _without_unused(model)


def _is_zeros(pad: "onnx.NodeProto", constants: "dict[str, onnx.TensorProto]") -> bool:
    """Whether a Pad fills known places with zeros."""
    from onnx import numpy_helper

    mode = next((attribute.s for attribute in pad.attribute if attribute.name == "mode"), b"constant")
    if mode != b"constant" or len(pad.input) < 2 or pad.input[1] not in constants:
        return False
    value = pad.input[2] if len(pad.input) > 2 else ""
    return not value or (value in constants and not numpy_helper.to_array(constants[value]).any())


def _without_unused(model: "onnx.ModelProto") -> "onnx.ModelProto":
    used = {name for node in model.graph.node for name in node.input}
    used |= {output.name for output in model.graph.output}
    for entry in [entry for entry in model.graph.initializer if entry.name not in used]:
        model.graph.initializer.remove(entry)
    return model
