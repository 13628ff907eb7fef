"""MACs of a Core ML program, executed by the interpreter that checks exports."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gate.execution import Execution, NotExecutable


def execute_coreml(path: Path, shapes: dict[str, list[int]]) -> Execution:
    from exporters.coreml.mil.interpreter import MilInterpreter
    from exporters.coreml.run import _function, read_specification
    from exporters.errors import ExportError

    function = _function(read_specification(path), path)
    try:
        interpreter = MilInterpreter(function)
    except ExportError as error:
        raise NotExecutable(str(error)[:100]) from error
    inputs = {name: shapes.get(name) or [s if isinstance(s, int) else 1 for s in shape]
              for name, shape in interpreter.input_shapes.items()}  # fmt: skip
    computed = interpreter.run({name: np.random.default_rng(0).random(shape) for name, shape in inputs.items()})
    found = Execution(how="the MIL interpreter of the exporters")

    def size(var: Any) -> tuple[int, ...]:
        return tuple(computed[var.name].shape) if var.name in computed else tuple(var.shape)

    for op in function.operations:
        if op.op_type == "conv":
            found.macs["conv"] += math.prod(size(op.outputs[0])) * math.prod(op.inputs["weight"].shape[1:])
        elif op.op_type == "conv_transpose":
            found.macs["conv_transpose"] += math.prod(size(op.inputs["x"])) * math.prod(op.inputs["weight"].shape[1:])
        elif op.op_type == "linear":
            found.macs["linear"] += math.prod(size(op.outputs[0])) * op.inputs["weight"].shape[-1]
        elif op.op_type == "matmul":
            turned = op.inputs["transpose_x"] is not None and bool(op.inputs["transpose_x"].val)
            found.macs["matmul"] += math.prod(size(op.outputs[0])) * size(op.inputs["x"])[-2 if turned else -1]
    return found
