"""MACs of a TFLite file: executed by LiteRT with every tensor kept, or read by the schema's own classes."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gate.execution import Execution, NotExecutable


def execute_tflite(path: Path, shapes: dict[str, list[int]]) -> Execution:
    try:
        return _litert(path, shapes)
    except (RuntimeError, ValueError) as error:
        found = _schema(path)
        found.how = f"the file's own shapes, by the tflite package ({str(error).splitlines()[0][:60]})"
        return found


def _litert(path: Path, shapes: dict[str, list[int]]) -> Execution:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), experimental_preserve_all_tensors=True, num_threads=1)
    for entry in interpreter.get_input_details():
        signature = [int(s) for s in entry["shape_signature"]]
        wanted = shapes.get(entry["name"]) or [s if s > 0 else 1 for s in signature]
        if list(entry["shape"]) != wanted:
            interpreter.resize_tensor_input(entry["index"], wanted)
    interpreter.allocate_tensors()
    for entry in interpreter.get_input_details():
        interpreter.set_tensor(entry["index"], np.zeros(entry["shape"], entry["dtype"]))
    interpreter.invoke()
    sizes = {entry["index"]: tuple(map(int, entry["shape"])) for entry in interpreter.get_tensor_details()}
    kernels = [
        (op["op_name"], [sizes.get(int(i), ()) for i in op["inputs"]], [sizes.get(int(i), ()) for i in op["outputs"]])
        for op in interpreter._get_ops_details()
    ]
    found = Execution(how="LiteRT, all tensors kept")
    # LiteRT does not tell an operator's options; the schema's classes do.
    for (name, inputs, outputs), operator in zip(kernels, _schema_operators(path), strict=False):
        found.macs[name] += _kernel_macs(name, inputs, outputs, operator)
    return found


def _kernel_macs(name: str, i: list[tuple[int, ...]], o: list[tuple[int, ...]], operator: Any) -> int:
    if name == "CONV_2D":
        return math.prod(o[0]) * math.prod(i[1][1:])
    if name == "DEPTHWISE_CONV_2D":
        return math.prod(o[0]) * i[1][1] * i[1][2]
    if name == "FULLY_CONNECTED":
        return math.prod(o[0]) * i[1][1]
    if name == "TRANSPOSE_CONV":
        return math.prod(i[2]) * math.prod(i[1]) // i[1][3]
    if name == "Convolution2DTransposeBias":
        return math.prod(i[0]) * math.prod(i[1]) // i[1][3]
    if name == "BATCH_MATMUL":
        from tflite import BatchMatMulOptions

        options = BatchMatMulOptions()
        turned = False
        if operator is not None and operator.BuiltinOptions() is not None:
            options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
            turned = options.AdjX()
        return math.prod(o[0]) * i[0][-2 if turned else -1]
    if name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        return math.prod(i[0][:-1]) * sum(math.prod(shape) for shape in i[1:9] if len(shape) == 2)
    if name == "SVDF":
        return i[0][0] * (math.prod(i[1]) + math.prod(i[2]))
    if name in ("LSTM", "RNN", "CONV_3D", "CONV_3D_TRANSPOSE", "RFFT2D", "IF", "WHILE"):
        raise NotExecutable(f"{name} is not counted here")
    return 0


def _schema_operators(path: Path) -> list[Any]:
    from tflite import Model

    graph = Model.GetRootAs(path.read_bytes(), 0).Subgraphs(0)
    return [graph.Operators(i) for i in range(graph.OperatorsLength())]


def _schema(path: Path) -> Execution:
    from tflite import BuiltinOperator, Model

    names = {value: name for name, value in vars(BuiltinOperator).items() if isinstance(value, int)}
    model = Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)

    def shape(index: int) -> tuple[int, ...]:
        return tuple(int(s) for s in graph.Tensors(index).ShapeAsNumpy()) if index >= 0 else ()

    found = Execution()
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if name == "CUSTOM":
            raise NotExecutable(f"LiteRT has no custom operator {code.CustomCode().decode()}")
        inputs = [shape(i) for i in operator.InputsAsNumpy()]
        found.macs[name] += _kernel_macs(name, inputs, [shape(i) for i in operator.OutputsAsNumpy()], operator)
    return found
