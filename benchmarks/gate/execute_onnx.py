"""MACs of an ONNX file by executing it node by node in ONNX Runtime, branches and loops as they are really taken."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gate.execution import Execution, NotExecutable
from benchmarks.gate.onnx_counters import ONNX_COUNTERS


class OnnxRun:
    """Executes a model, one session a node, and counts what multiplies."""

    def __init__(self, path: Path) -> None:
        import onnx
        import onnx.inliner

        self.model = onnx.load(path)
        if self.model.functions:
            self.model = onnx.inliner.inline_local_functions(self.model)
        self.execution = Execution(how="ONNX Runtime, node by node")
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
            self.execution.macs[node.op_type] += counter(inputs, results, given)
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


def execute_onnx(path: Path, shapes: dict[str, list[int]]) -> Execution:
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
    return run.execution


def _filled(name: str, shape: Sequence[int], kind: int) -> Any:
    from onnx import helper

    dtype = helper.tensor_dtype_to_np_dtype(kind)
    if name in FILLED:
        return np.full(shape, FILLED[name], dtype)
    if np.issubdtype(dtype, np.floating):
        return np.random.default_rng(0).random(shape).astype(dtype)
    return np.ones(shape, dtype)


FILLED = {"sr": 16000}
