"""ONNX and ORT files on this machine's CPU."""

from functools import cached_property
from pathlib import Path
from typing import Any, Final

from exporters.errors import CannotRun
from exporters.quiet import first_line
from exporters.request import Array
from exporters.runtime import InProcess, as_shaped, in_batches

THREADS: Final = 1  # as latency tables are measured unless told otherwise


class OnnxRuntime(InProcess):
    """One session; the batch size and the place of the channels are read from the file."""

    def __init__(self, path: Path) -> None:
        """Open the `.onnx` or `.ort` file; CannotRun where ONNX Runtime refuses it."""
        self._path = path
        self._session = _session(path)

    @property
    def by(self) -> str:
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}, CPU, {THREADS} thread"

    @property
    def metadata(self) -> dict[str, str]:
        """What was written into the file."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @cached_property
    def _input(self) -> Any:
        return self._session.get_inputs()[0]

    def run(self, inputs: Array) -> Array:
        batch = self._input.shape[0]
        shaped = as_shaped(inputs, tuple(self._input.shape[1:]), str(self._path))
        fixed = batch if isinstance(batch, int) else None
        return in_batches(lambda part: self._session.run(None, {self._input.name: part})[0], shaped, fixed)

    def tensors(self, inputs: Array) -> list[tuple[str, Array]] | None:
        if self._path.suffix != ".onnx":
            return None
        return onnx_tensors(self._path, inputs)


def onnx_tensors(path: Path, inputs: Array) -> list[tuple[str, Array]]:
    """Every node's output, in its shape, for the first batch of `inputs` (n, c, h, w), without any graph optimisation.

    What is only quantised further is left out: its rounded version is what the model goes on with.
    """
    import onnx

    model = onnx.load(str(path))
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    produced = [name for node in model.graph.node for name in node.output if name]
    names = [name for name in produced if readers.get(name) != {"QuantizeLinear"}]
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    session = _session(model.SerializeToString(), plain=True)
    batch = session.get_inputs()[0].shape[0]
    part = inputs[: batch if isinstance(batch, int) else len(inputs)]
    values = session.run(names, {session.get_inputs()[0].name: part})
    return list(zip(names, values, strict=True))


def _session(model: Path | bytes, plain: bool = False) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = str(model) if isinstance(model, Path) else model
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class but Exception
        name = model if isinstance(model, Path) else "the model"
        raise CannotRun(f"ONNX Runtime cannot open {name}: {first_line(error)}") from error
