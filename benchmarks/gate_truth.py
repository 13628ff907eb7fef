"""MACs of model files that packages ship, as `pocketnas check` counts them and as executing them does.

    python benchmarks/gate_truth.py --packages rapidocr-onnxruntime,mediapipe,… [--out truth.jsonl]
    python benchmarks/gate_truth.py --table truth.jsonl
    python benchmarks/gate_truth.py --files a.onnx b.tflite

Install the packages into the environment first, and for TFLite files also `tflite` and `ai-edge-litert`. The counter
here shares no code with the gate's: ONNX files are executed node by node by ONNX Runtime, branches and loops as they
are really taken; TFLite files by LiteRT with every tensor kept (or, where LiteRT lacks a custom operator, read by the
schema's own classes); Core ML programs by the interpreter that checks exports. Multiplications are counted from the
shapes of what was computed. Open sizes are set to what the package feeds (SHAPES), the same for both.
"""

import argparse
import hashlib
import importlib.metadata
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError
from pipeline.modelfiles.read import ReadOptions, read_model

SUFFIXES = (".onnx", ".tflite", ".mlpackage")
DEFAULT_SIZE = 64  # of what a file leaves open and SHAPES does not name


class NotExecutable(Exception):
    """Nothing here can run the file; the message says what is missing."""


@dataclass
class Truth:
    """MACs by operator of one execution."""

    macs: Counter[str] = field(default_factory=Counter)
    how: str = ""


@dataclass(frozen=True)
class Row:
    """One file: what the gate says (None: undecided), what executing it says (None: no count)."""

    package: str
    file: str
    format: str
    gate: int | None
    gate_most: int | None
    truth: int | None
    how: str
    gate_ms: float
    said: str = ""
    shapes: dict[str, list[int]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """One word."""
        if self.truth is None:
            return "no count" if self.gate is None else "gate only"
        if self.gate is None:
            return "undecided"
        if self.gate == self.gate_most:
            return "equal" if self.gate == self.truth else "DIFFERENT"
        return "within" if self.gate <= self.truth <= (self.gate_most or 0) else "DIFFERENT"


# -- ONNX: node by node ---------------------------------------------------------------------------------------


class OnnxRun:
    """Executes a model, one session a node, and counts what multiplies."""

    def __init__(self, path: Path) -> None:
        import onnx
        import onnx.inliner

        self.model = onnx.load(path)
        if self.model.functions:
            self.model = onnx.inliner.inline_local_functions(self.model)
        self.truth = Truth(how="ONNX Runtime, node by node")
        self._sessions: dict[Any, Any] = {}

    def run(self, feeds: dict[str, Any]) -> None:
        """Execute everything once."""
        self._graph(self.model.graph, dict(feeds))

    def _graph(self, graph: Any, values: dict[str, Any]) -> list[Any]:
        from onnx import numpy_helper

        for tensor in graph.initializer:
            values[tensor.name] = numpy_helper.to_array(tensor)
        waiting = list(graph.node)
        while waiting:
            later = []
            for node in waiting:
                if any(name and name not in values for name in node.input):
                    later.append(node)
                    continue
                results = self._node(node, values)
                values.update({name: value for name, value in zip(node.output, results, strict=False) if name})
            if len(later) == len(waiting):
                raise NotExecutable(f"nothing gives the input of {later[0].op_type}")
            waiting = later
        return [values[value.name] for value in graph.output]

    def _node(self, node: Any, values: dict[str, Any]) -> list[Any]:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "If":
            taken = "then_branch" if bool(np.all(values[node.input[0]])) else "else_branch"
            return self._graph(attributes[taken].g, dict(values))
        if node.op_type == "Loop":
            return self._loop(node, attributes["body"].g, values)
        if node.op_type == "Scan":
            return self._scan(node, attributes, values)
        inputs = [values[name] if name else None for name in node.input]
        results = self._executed(node, inputs)
        counter = ONNX_COUNTERS.get(node.op_type)
        if counter is not None:
            given = {a.name: a for a in node.attribute}
            self.truth.macs[node.op_type] += counter(inputs, results, given)
        return results

    def _loop(self, node: Any, body: Any, values: dict[str, Any]) -> list[Any]:
        most = int(values[node.input[0]]) if node.input[0] else 2**31
        going = bool(np.all(values[node.input[1]])) if len(node.input) > 1 and node.input[1] else True
        carried = [values[name] for name in node.input[2:]]
        stacked: list[list[Any]] = [[] for _ in node.output[len(carried) :]]
        for step in range(most):
            if not going:
                break
            names = [value.name for value in body.input]
            given = [np.asarray(step, np.int64), np.asarray(going), *carried]
            results = self._graph(body, {**values, **dict(zip(names, given, strict=True))})
            going = bool(np.all(results[0]))
            carried = results[1 : 1 + len(carried)]
            for rows, value in zip(stacked, results[1 + len(carried) :], strict=True):
                rows.append(value)
        return [*carried, *(np.stack(rows) for rows in stacked)]

    def _scan(self, node: Any, attributes: dict[str, Any], values: dict[str, Any]) -> list[Any]:
        count, body = attributes["num_scan_inputs"].i, attributes["body"].g
        states = [values[name] for name in node.input[: len(node.input) - count]]
        rows = [values[name] for name in node.input[len(node.input) - count :]]
        stacked: list[list[Any]] = [[] for _ in node.output[len(states) :]]
        for step in range(len(rows[0])):
            names = [value.name for value in body.input]
            given = [*states, *(row[step] for row in rows)]
            results = self._graph(body, {**values, **dict(zip(names, given, strict=True))})
            states = results[: len(states)]
            for kept, value in zip(stacked, results[len(states) :], strict=True):
                kept.append(value)
        return [*states, *(np.stack(kept) for kept in stacked)]

    def _executed(self, node: Any, inputs: list[Any]) -> list[Any]:
        import onnxruntime
        from onnx import helper

        names = [name for name in node.input if name]
        arrays = dict(zip(names, [value for value in inputs if value is not None], strict=True))
        key = (node.SerializeToString(), tuple((a.dtype, a.ndim) for a in arrays.values()))
        session = self._sessions.get(key)
        if session is None:
            given = [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), [None] * a.ndim)
                for name, a in arrays.items()
            ]
            outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
            graph = helper.make_graph([node], "one", given, outputs)
            # One node's protobuf may still hold an initializer's name that no input has: none does here.
            model = helper.make_model(
                graph, opset_imports=self.model.opset_import, ir_version=min(self.model.ir_version, 10)
            )
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            options.intra_op_num_threads = 1
            try:
                session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
            except Exception as error:
                raise NotExecutable(f"{node.op_type}: {str(error).splitlines()[0][:100]}") from error
            self._sessions[key] = session
        results = iter(session.run(None, arrays))
        return [next(results) if name else None for name in node.output]


def _flag(given: dict[str, Any], name: str) -> int:
    return int(given[name].i) if name in given else 0


def _gemm(a: Any, out: Any, given: dict[str, Any]) -> int:
    return int(out.size * a.shape[0 if _flag(given, "transA") else 1])


def _fused_matmul(i: list[Any], o: list[Any], g: dict[str, Any]) -> int:
    return int(o[0].size * i[0].shape[-2 if _flag(g, "transA") else -1])


def _attention(i: list[Any], o: list[Any], g: dict[str, Any]) -> int:
    batch, steps, features = i[0].shape
    hidden = i[1].shape[1] // 3
    return int(batch * steps * features * i[1].shape[1] + 2 * batch * steps * steps * hidden)


def _contracted(i: list[Any], o: list[Any], g: dict[str, Any]) -> int:
    """A letter in one operand only is summed first; without a common one nothing is summed up."""
    text = g["equation"].s.decode().replace(" ", "")
    left, result = text.split("->")
    one, two = left.split(",")
    sizes = dict(zip(one, i[0].shape, strict=True)) | dict(zip(two, i[1].shape, strict=True))
    summed = (set(one) & set(two)) - set(result)
    return math.prod(sizes[c] for c in {*result, *(set(one) & set(two))}) if summed else 0


Counted = Callable[[list[Any], list[Any], dict[str, Any]], int]
ONNX_COUNTERS: dict[str, Counted] = {
    "Conv": lambda i, o, g: o[0].size * i[1].size // i[1].shape[0],
    "FusedConv": lambda i, o, g: o[0].size * i[1].size // i[1].shape[0],
    "ConvInteger": lambda i, o, g: o[0].size * i[1].size // i[1].shape[0],
    "QLinearConv": lambda i, o, g: o[0].size * i[3].size // i[3].shape[0],
    "ConvTranspose": lambda i, o, g: i[0].size * i[1].size // i[1].shape[0],
    "MatMul": lambda i, o, g: o[0].size * i[0].shape[-1],
    "MatMulInteger": lambda i, o, g: o[0].size * i[0].shape[-1],
    "MatMulIntegerToFloat": lambda i, o, g: o[0].size * i[0].shape[-1],
    "DynamicQuantizeMatMul": lambda i, o, g: o[0].size * i[0].shape[-1],
    "QLinearMatMul": lambda i, o, g: o[0].size * i[0].shape[-1],
    "FusedMatMul": _fused_matmul,
    "MatMulNBits": lambda i, o, g: o[0].size * g["K"].i,
    "Gemm": lambda i, o, g: _gemm(i[0], o[0], g),
    "FusedGemm": lambda i, o, g: _gemm(i[0], o[0], g),
    "QGemm": lambda i, o, g: _gemm(i[0], o[0], g),
    "LSTM": lambda i, o, g: i[0].shape[0] * i[0].shape[1] * (i[1].size + i[2].size),
    "GRU": lambda i, o, g: i[0].shape[0] * i[0].shape[1] * (i[1].size + i[2].size),
    "RNN": lambda i, o, g: i[0].shape[0] * i[0].shape[1] * (i[1].size + i[2].size),
    "DynamicQuantizeLSTM": lambda i, o, g: i[0].shape[0] * i[0].shape[1] * (i[1].size + i[2].size),
    "Attention": _attention,
    "QAttention": _attention,
    "Einsum": _contracted,
}


def onnx_truth(path: Path, shapes: dict[str, list[int]]) -> Truth:
    run = OnnxRun(path)
    stored = {tensor.name for tensor in run.model.graph.initializer}
    feeds = {}
    for value in run.model.graph.input:
        if value.name in stored:
            continue
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        wanted = shapes.get(value.name) or [size if size > 0 else 1 for size in sizes]
        feeds[value.name] = _filled(value.name, wanted, value.type.tensor_type.elem_type)
    run.run(feeds)
    return run.truth


def _filled(name: str, shape: Sequence[int], kind: int) -> Any:
    from onnx import helper

    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if name in FILLED:
        return np.full(shape, FILLED[name], dtype)
    if np.issubdtype(dtype, np.floating):
        return np.random.default_rng(0).random(shape).astype(dtype)
    return np.ones(shape, dtype)


FILLED = {"sr": 16000}


# -- TFLite ---------------------------------------------------------------------------------------------------


def tflite_truth(path: Path, shapes: dict[str, list[int]]) -> Truth:
    try:
        return _litert_truth(path, shapes)
    except (RuntimeError, ValueError) as error:
        truth = _schema_truth(path)
        truth.how = f"the file's own shapes, by the tflite package ({str(error).splitlines()[0][:60]})"
        return truth


def _litert_truth(path: Path, shapes: dict[str, list[int]]) -> Truth:
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
    truth = Truth(how="LiteRT, all tensors kept")
    # LiteRT does not tell an operator's options; the schema's classes do.
    for (name, inputs, outputs), operator in zip(kernels, _schema_operators(path), strict=False):
        truth.macs[name] += _kernel_macs(name, inputs, outputs, operator)
    return truth


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


def _schema_truth(path: Path) -> Truth:
    from tflite import BuiltinOperator, Model

    names = {value: name for name, value in vars(BuiltinOperator).items() if isinstance(value, int)}
    model = Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)

    def shape(index: int) -> tuple[int, ...]:
        return tuple(int(s) for s in graph.Tensors(index).ShapeAsNumpy()) if index >= 0 else ()

    truth = Truth()
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        code = model.OperatorCodes(operator.OpcodeIndex())
        name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        if name == "CUSTOM":
            raise NotExecutable(f"LiteRT has no custom operator {code.CustomCode().decode()}")
        inputs = [shape(i) for i in operator.InputsAsNumpy()]
        truth.macs[name] += _kernel_macs(name, inputs, [shape(i) for i in operator.OutputsAsNumpy()], operator)
    return truth


# -- Core ML --------------------------------------------------------------------------------------------------


def coreml_truth(path: Path, shapes: dict[str, list[int]]) -> Truth:
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
    truth = Truth(how="the MIL interpreter of the exporters")

    def size(var: Any) -> tuple[int, ...]:
        return tuple(computed[var.name].shape) if var.name in computed else tuple(var.shape)

    for op in function.operations:
        if op.op_type == "conv":
            truth.macs["conv"] += math.prod(size(op.outputs[0])) * math.prod(op.inputs["weight"].shape[1:])
        elif op.op_type == "conv_transpose":
            truth.macs["conv_transpose"] += math.prod(size(op.inputs["x"])) * math.prod(op.inputs["weight"].shape[1:])
        elif op.op_type == "linear":
            truth.macs["linear"] += math.prod(size(op.outputs[0])) * op.inputs["weight"].shape[-1]
        elif op.op_type == "matmul":
            turned = op.inputs["transpose_x"] is not None and bool(op.inputs["transpose_x"].val)
            truth.macs["matmul"] += math.prod(size(op.outputs[0])) * size(op.inputs["x"])[-2 if turned else -1]
    return truth


TRUTHS = {".onnx": onnx_truth, ".tflite": tflite_truth, ".mlpackage": coreml_truth}


# -- all files ------------------------------------------------------------------------------------------------


def files_of(packages: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The model files of installed packages with the package's name; each content once."""
    seen = set()
    for package in packages:
        found = set()
        for file in importlib.metadata.files(package) or ():
            path = Path(str(file.locate()))
            inside = next((parent for parent in path.parents if parent.suffix == ".mlpackage"), None)
            found.add(inside or path)
        for path in sorted(found):
            if path.suffix in SUFFIXES and path.exists():
                digest = hashlib.sha256(path.read_bytes() if path.is_file() else str(path).encode()).hexdigest()
                if digest not in seen:
                    seen.add(digest)
                    yield package, path


def measured(package: str, path: Path) -> Row:
    """Both counts of one file."""
    shapes = {}
    facts = None
    started = time.perf_counter()
    said = ""
    try:
        facts = read_model(path)
        shapes = {name: [DEFAULT_SIZE if s is None else s for s in shape] for name, shape in facts.open_inputs.items()}
        shapes = next((known for end, known in SHAPES.items() if path.as_posix().endswith(end)), shapes)
        if shapes:
            facts = read_model(path, ReadOptions({name: tuple(shape) for name, shape in shapes.items()}))
        said = ", ".join(f"{n} {name}" for name, n in facts.uncounted.items())
    except PipelineError as error:
        said = str(error)
    elapsed = (time.perf_counter() - started) * 1000
    known = facts if facts is not None and not facts.uncounted else None
    try:
        truth = TRUTHS[path.suffix](path, shapes)
        total, how = sum(truth.macs.values()), truth.how
    except NotExecutable as error:
        total, how = None, str(error)
    except Exception as error:  # whatever a runtime raises: the file cannot be executed so
        total, how = None, f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
    return Row(
        package=package,
        file=f"{path.parent.name}/{path.name}",
        format=path.suffix[1:],
        gate=None if known is None or known.macs is None else known.macs * known.images,
        gate_most=None if known is None or known.macs_most is None else known.macs_most * known.images,
        truth=total,
        how=how,
        gate_ms=round(elapsed, 1),
        said=said,
        shapes=shapes,
    )


_VAD = {"input": [1, 576], "state": [2, 1, 128]}
# What the packages feed where a file leaves sizes open and 64 would not fit, by the end of the path.
SHAPES: dict[str, dict[str, list[int]]] = {
    "data/silero_vad.onnx": _VAD,
    "data/silero_vad_16k_op15.onnx": _VAD,
    "data/silero_vad_half.onnx": _VAD,
    "data/silero_vad_op18_ifless.onnx": _VAD,
    "models/silero_vad.onnx": {"input": [1, 1536], "h": [2, 1, 64], "c": [2, 1, 64]},
    "models/melspectrogram.onnx": {"input": [1, 1760]},
    "models/melspectrogram.tflite": {"serving_default_input:0": [1, 1760]},
    "resources/melspectrogram.onnx": {"input": [1, 1760]},
}


def print_table(path: Path) -> None:
    """The rows of an output file as a Markdown table."""
    print("| package | file | MACs by the gate | MACs executed | |\n|---|---|---:|---:|---|")
    for line in path.read_text(encoding="utf-8").splitlines():
        row = Row(**json.loads(line))
        ends = "undecided" if row.gate is None else f"{row.gate:,}"
        if row.gate is not None and row.gate_most != row.gate:
            ends = f"{row.gate:,} to {row.gate_most:,}"
        truth = row.how if row.truth is None else f"{row.truth:,}"
        print(f"| {row.package} | {row.file} | {ends} | {truth} | {row.verdict} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=lambda text: text.split(","), default=[])
    parser.add_argument("--files", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the rows of this file as Markdown and do nothing else")
    arguments = parser.parse_args()
    if arguments.table is not None:
        print_table(arguments.table)
        return
    rows = []
    for package, path in [*(("", path) for path in arguments.files), *files_of(arguments.packages)]:
        row = measured(package, path)
        rows.append(row)
        print(
            f"{row.verdict:14} {row.file:50} {row.gate!s:>14} {row.truth!s:>14} {row.gate_ms:8.1f} ms "
            f"{row.how[:60]} {row.said[:150]}",
            flush=True,
        )
        if arguments.out is not None:
            with arguments.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(row)) + "\n")
    print(dict(Counter(row.verdict for row in rows)), file=sys.stderr)


if __name__ == "__main__":
    main()
