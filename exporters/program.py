"""The network as one program of torch's core operators, made once a request. Imports torch: import lazily."""

from typing import Any

import torch

from exporters.deployed import deployed, example, traceable
from exporters.errors import ConversionFailed
from exporters.quiet import first_line, quiet
from exporters.request import ExportRequest


def exported_program(request: ExportRequest, float_pixels: bool = False) -> torch.export.ExportedProgram:
    """`torch.export` of the request's network as its files compute it; `float_pixels` as in `deployed`.

    Raises ConversionFailed where torch cannot follow the network or where the batch size is baked in.
    """
    made: dict[bool, Any] = request.programs
    if float_pixels not in made:
        made[float_pixels] = _exported(request, float_pixels)
    program: torch.export.ExportedProgram = made[float_pixels]
    return program


def _exported(request: ExportRequest, float_pixels: bool) -> torch.export.ExportedProgram:
    if isinstance(request.network, torch.jit.ScriptModule):
        raise ConversionFailed("torch.export takes no scripted module; give the module that it was scripted from")
    inputs = example(request, float_pixels)
    sizes = ({0: torch.export.Dim.DYNAMIC},) if request.options.batch is None else None
    try:
        with quiet(), traceable():
            program = torch.export.export(deployed(request, float_pixels), (inputs,), dynamic_shapes=sizes)
    except Exception as error:  # the tracer raises what it likes, and whatever the network itself does
        hint = "; the network may hold one batch size: set batch to it" if request.options.batch is None else ""
        raise ConversionFailed(f"torch.export cannot follow the network: {first_line(error)}{hint}") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # source files of this machine
    return program
