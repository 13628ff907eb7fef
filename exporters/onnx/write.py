"""ONNX: fp32 from torch, fp16 and static int8 from that, each checked before anybody reads it."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from exporters.dependencies import ONNX, ONNX_RUN, Dependency
from exporters.errors import ConversionFailed
from exporters.onnx.run import OnnxRuntime
from exporters.quiet import first_line
from exporters.request import INPUT_NAME, ExportRequest, Precision
from exporters.runtime import Runtime

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class OnnxExporter:
    """Writes `.onnx`; runs it with ONNX Runtime on this machine's CPU."""

    target: str
    precision: Precision
    recipe: str = ""
    suffix: ClassVar[str] = ".onnx"
    needs: ClassVar[tuple[Dependency, ...]] = ONNX
    runs_with: ClassVar[tuple[Dependency, ...]] = ONNX_RUN
    repeatable: ClassVar[bool] = True

    def convert(self, request: ExportRequest, path: Path) -> Mapping[str, str]:
        """Write the model to `path`."""
        path.write_bytes(onnx_file(request, self.precision, self.recipe).read_bytes())
        return {}

    def open(self, path: Path) -> Sequence[Runtime]:
        """A session on this machine's CPU."""
        return [OnnxRuntime(path)]


def onnx_file(request: ExportRequest, precision: Precision, recipe: str = "") -> Path:
    """The request's network as a checked ONNX file in its scratch folder; made once per request.

    `recipe` is that of int8: "onnxruntime" or "tensorrt".
    """
    path = request.scratch / f"shared-{precision}{recipe}.onnx"
    if path.exists():
        return path
    if precision == "fp32":
        from exporters.onnx.routes import from_torch

        model = _described(from_torch(request), request)
    elif precision == "fp16":
        model = _halved(onnx_file(request, "fp32"))
    else:
        from exporters.onnx.int8 import quantised

        model = quantised(request, onnx_file(request, "fp32"), recipe)
    check(model, request)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def _described(model: "onnx.ModelProto", request: ExportRequest) -> "onnx.ModelProto":
    import onnx

    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    model.graph.name = "network"
    onnx.helper.set_model_props(model, request.described())
    return model


def _halved(path: Path) -> "onnx.ModelProto":
    """The fp32 model with fp16 weights and arithmetic; its input and output stay as they are."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(str(path))
    props = {entry.key: entry.value for entry in model.metadata_props}
    with warnings.catch_warnings():
        # Weights below the smallest fp16 number become that number: parity judges whether it matters.
        warnings.simplefilter("ignore", UserWarning)
        model = convert_float_to_float16(model, keep_io_types=True, op_block_list=[])
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, props)
    return _sorted(model)


def _sorted(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The converter appends its Cast nodes at the end: put every node behind those it reads from."""
    known = {entry.name for entry in (*model.graph.input, *model.graph.initializer)} | {""}
    waiting = list(model.graph.node)
    del model.graph.node[:]
    while waiting:
        ready = next((node for node in waiting if known.issuperset(node.input)), None)
        if ready is None:
            raise ConversionFailed("onnx: the fp16 conversion left nodes that read from nothing")
        waiting.remove(ready)
        model.graph.node.append(ready)
        known.update(ready.output)
    return model


def check(model: "onnx.ModelProto", request: ExportRequest) -> None:
    """Raise ConversionFailed unless the model is valid, of the asked opset, and free of training leftovers."""
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionFailed(f"onnx: the exported model is not valid: {first_line(error)}") from error
    for problem in problems(model, request.options.opset, request.options.output_name):
        raise ConversionFailed(f"onnx: {problem}")


def problems(model: "onnx.ModelProto", opset: int, output_name: str) -> list[str]:
    """What is wrong with a valid model: opset, names, training operators, weights of no use."""
    found = []
    got = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if got != [opset]:
        found.append(f"opset {opset} was asked, the file has {got}")
    names = [value.name for value in (*model.graph.input, *model.graph.output)]
    if names != [INPUT_NAME, output_name]:
        found.append(f"inputs and outputs are named {names}, not {[INPUT_NAME, output_name]}")
    constants = {entry.name for entry in model.graph.initializer}
    used = {name for node in model.graph.node for name in node.input}
    found += [f"weight {name!r} is used by nothing" for name in sorted(constants - used)]
    for node in model.graph.node:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "Dropout" or attributes.get("training_mode"):
            found.append(
                f"node {node.name!r} ({node.op_type}) computes as in training, though the network is in eval mode"
            )
    return found
