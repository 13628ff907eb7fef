"""Two ways from torch to ONNX, tried in this order. Imports torch: import lazily.

The TorchScript exporter is quick (0.4 s for the largest network of `ofa-mbv3-1.0`, 3 to 6 s the other), writes
any opset from 13 on and keeps GlobalAveragePool, which tools recognise. What it cannot trace, and everything once
torch has dropped it, goes through `torch.export`, which takes operators apart.
"""

import importlib.util
import io
from typing import TYPE_CHECKING

import torch

from exporters.deployed import deployed, example, traceable
from exporters.errors import ConversionFailed, ExportError, UnsupportedOperator
from exporters.onnx.fold import folded
from exporters.onnx.opset import EXPORTED, lowered
from exporters.program import exported_program
from exporters.quiet import first_line, quiet
from exporters.request import INPUT_NAME, ExportRequest

if TYPE_CHECKING:
    import onnx


def from_torch(request: ExportRequest) -> "onnx.ModelProto":
    """The request's network in fp32, folded; ConversionFailed or UnsupportedOperator where neither way leads there."""
    try:
        return from_torchscript(request)
    except ExportError as first:
        try:
            return from_program(request)
        except UnsupportedOperator:
            raise
        except ExportError as second:
            # Where torch.export cannot follow either, the reason of the first is the clearer one.
            raise (first if isinstance(first, UnsupportedOperator) else second) from first


def from_torchscript(request: ExportRequest) -> "onnx.ModelProto":
    """By the exporter that traces."""
    import onnx

    output, buffer = request.options.output_name, io.BytesIO()
    axes = {INPUT_NAME: {0: "batch"}, output: {0: "batch"}} if request.options.batch is None else None
    try:
        with quiet(), traceable():
            torch.onnx.export(
                deployed(request),
                (example(request),),
                buffer,  # type: ignore[arg-type]  # this exporter takes streams too
                dynamo=False,
                opset_version=request.options.opset,
                input_names=[INPUT_NAME],
                output_names=[output],
                dynamic_axes=axes,
                do_constant_folding=True,
            )
        return folded(onnx.load_from_string(buffer.getvalue()))
    except torch.onnx.errors.UnsupportedOperatorError as error:
        raise UnsupportedOperator(f"onnx: {first_line(error)}; replace it in the network") from error
    except Exception as error:  # it raises what it likes, and whatever the network does while it is traced
        raise ConversionFailed(f"onnx: torch could not export the network: {first_line(error)}") from error


def from_program(request: ExportRequest) -> "onnx.ModelProto":
    """By the exporter that decomposes; its oldest opset is 18, so what was asked may have to be lowered."""
    if importlib.util.find_spec("onnxscript") is None:
        raise ConversionFailed("onnx: torch's exporter that decomposes needs onnxscript; run: pip install onnxscript")
    program = exported_program(request)
    try:
        with quiet(), traceable():
            written = torch.onnx.export(
                program,
                (example(request),),
                dynamo=True,
                opset_version=max(request.options.opset, EXPORTED),
                input_names=[INPUT_NAME],
                output_names=[request.options.output_name],
                verbose=False,
            )
        assert written is not None
        model: onnx.ModelProto = written.model_proto
    except Exception as error:  # a chain of torch's own exceptions
        reason = root_cause(error)
        if "No ONNX function found" in reason or "No decompositions registered" in reason:
            raise UnsupportedOperator(f"onnx: {reason}; replace it in the network") from error
        raise ConversionFailed(f"onnx: torch could not export the network: {reason}") from error
    _name_batch(model)
    return folded(lowered(folded(_bare(model)), request.options.opset))


def root_cause(error: BaseException) -> str:
    """The first line of the exception that the others were raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _bare(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Without stack traces and source paths, which differ from machine to machine."""
    model.doc_string = ""
    for holder in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del holder.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    del model.graph.value_info[:]
    return model


def _name_batch(model: "onnx.ModelProto") -> None:
    for value in (*model.graph.input, *model.graph.output):
        first = value.type.tensor_type.shape.dim[0]
        if first.dim_param:
            first.dim_param = "batch"
