"""Executes the MIL program of a saved Core ML package with torch, on any machine.

It proves that the stored graph with its stored weights computes what the network computes. It says
nothing about Apple's runtime. Arithmetic is float32; every result is then rounded to the type that the
program declares for it, so an fp16 program is judged with fp16 weights and fp16 activations.
The operators are in `exporters.coreml.mil.operators`. Imports torch: import lazily.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch

from exporters.coreml.mil.operators import OPERATORS
from exporters.errors import UnsupportedOperator, WrongInput
from exporters.request import Array

ROUNDED: Final = {"fp16": torch.float16, "fp32": torch.float32}
CASTS: Final = {**ROUNDED, "int32": torch.int32, "int16": torch.int16, "bool": torch.bool}


class MilInterpreter:
    """One function of a MIL program (coremltools' `Function`), ready to run.

    Raises UnsupportedOperator, naming them, for operators that it does not know.
    """

    def __init__(self, function: Any) -> None:
        operations = [op for op in function.operations if op.op_type != "const"]
        unknown = sorted({op.op_type for op in operations} - OPERATORS.keys())
        if unknown:
            raise UnsupportedOperator(
                f"the MIL interpreter does not know {', '.join(unknown)} (it knows {len(OPERATORS)} operators)"
            )
        self.input_shapes = {name: tuple(var.shape) for name, var in function.inputs.items()}
        self.outputs = [var.name for var in function.outputs]
        self._input_types = {name: _type_name(var) for name, var in function.inputs.items()}
        self._steps = [_Step(op) for op in operations]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Every tensor that the program computes, in its shape and by name, in order of execution.

        Raises WrongInput unless exactly the program's inputs are given.
        """
        if inputs.keys() != self._input_types.keys():
            raise WrongInput(f"the program takes {sorted(self._input_types)}, given were {sorted(inputs)}")
        values: dict[str, Any] = {
            name: _rounded(torch.from_numpy(np.array(array, dtype=np.float32)), self._input_types[name])
            for name, array in inputs.items()
        }
        computed: dict[str, Array] = {}
        with torch.no_grad():
            for step in self._steps:
                for name, value in step.run(values):
                    values[name] = value
                    if isinstance(value, torch.Tensor):
                        computed[name] = value.numpy()
        return computed


class _Step:
    """One operation with its constants read once."""

    def __init__(self, op: Any) -> None:
        self._operator = OPERATORS[op.op_type]
        self._constants: dict[str, Any] = {}
        self._variables: dict[str, str | list[str]] = {}
        for name, value in op.inputs.items():
            if isinstance(value, (list, tuple)):
                self._variables[name] = [var.name for var in value]
                self._constants.update({var.name: _constant(var.val) for var in value if _is_constant(var)})
            elif value is not None and _is_constant(value):
                self._constants[name] = _constant(value.val)
            elif value is not None:
                self._variables[name] = value.name
        self._outputs = [(var.name, _type_name(var)) for var in op.outputs]

    def run(self, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
        arguments = dict(self._constants)
        for name, source in self._variables.items():
            if isinstance(source, list):
                arguments[name] = [self._constants.get(item, values.get(item)) for item in source]
            else:
                arguments[name] = values[source]
        result = self._operator(arguments)
        results = result if isinstance(result, tuple) else (result,)
        named = zip(self._outputs, results, strict=True)
        return [(name, _rounded(value, kind)) for (name, kind), value in named]


def _is_constant(var: Any) -> bool:
    return var.op is not None and var.op.op_type == "const"


def _constant(value: Any) -> Any:
    """A float array as a float32 tensor; anything else (scalars, text, shapes, indices) as it is."""
    if isinstance(value, np.ndarray) and value.ndim and value.dtype in (np.float16, np.float32):
        return torch.from_numpy(value.astype(np.float32))
    return value.item() if isinstance(value, np.generic) else value


def _type_name(var: Any) -> str:
    from coremltools.converters.mil.mil import types

    try:
        return str(types.builtin_to_string(var.dtype))
    except (AttributeError, KeyError, TypeError):
        return "other"


def _rounded(value: Any, kind: str) -> Any:
    if not isinstance(value, torch.Tensor) or kind not in CASTS:
        return value
    if kind == "fp16":
        return value.half().float()
    return value.to(CASTS[kind])
