"""Building and running TensorRT engines, for `exporters.process` because some failures are crashes.

Answers are {"ok": true, …} or {"ok": false, "kind": …, "error": …}. `module` in the job is `tensorrt` or
`tensorrt_rtx`, whose Python interfaces agree in all that is used here.
"""

import importlib
from pathlib import Path
from typing import Any

from exporters.request import Array

LOG_LINES = 8


def answer(job: dict[str, Any], inputs: Array | None) -> tuple[dict[str, Any], Array | None]:
    """Build an engine or, where there are inputs (n, c, h, w), run one: what happened, and the outputs (n, classes)."""
    trt = importlib.import_module(job["module"])
    log = _log(trt)
    return (build(trt, log, job), None) if inputs is None else run(trt, log, job, inputs)


def _log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps what TensorRT says from warnings up."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.WARNING:
                self.lines.append(message)

    return Log()


def build(trt: Any, log: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Parse the ONNX file, build for the asked GPUs, write the engine and the timing cache."""
    builder = trt.Builder(log)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(Path(job["onnx"]).read_bytes()):
        first = parser.get_error(0)
        what = f"operator {first.node_operator()} of node {first.node_name()!r}: {first.desc()}"
        return {"ok": False, "kind": "operator", "error": " ".join(what.split())}
    network.name = job["name"]
    config = builder.create_builder_config()
    if job["capabilities"]:
        config.num_compute_capabilities = len(job["capabilities"])
        for index, name in enumerate(job["capabilities"]):
            config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    _dynamic_batch(builder, network, config, job)
    cache_path = Path(job["timing_cache"])
    cache = config.create_timing_cache(cache_path.read_bytes() if cache_path.exists() else b"")
    if cache is not None:
        config.set_timing_cache(cache, ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return {"ok": False, "kind": "build", "error": f"no engine was built: {_last(log)}"}
    Path(job["engine"]).write_bytes(bytes(engine))
    timed = config.get_timing_cache()
    if timed is not None and job["keep_timing_cache"]:
        cache_path.write_bytes(bytes(timed.serialize()))
    return {"ok": True, "layers": network.num_layers, "warnings": len(log.lines)}


def _dynamic_batch(builder: Any, network: Any, config: Any, job: dict[str, Any]) -> None:
    image = network.get_input(0)
    shape = tuple(image.shape)
    if shape[0] != -1:
        return
    profile = builder.create_optimization_profile()
    rest = shape[1:]
    profile.set_shape(image.name, (1, *rest), (1, *rest), (job["largest_batch"], *rest))
    config.add_optimization_profile(profile)


def run(trt: Any, log: Any, job: dict[str, Any], inputs: Array) -> tuple[dict[str, Any], Array | None]:
    """Run the engine on all inputs (n, c, h, w) and time one batch; the outputs are (n, classes)."""
    import numpy as np

    from exporters.runtime import as_shaped, in_batches
    from exporters.stopwatch import median_ms
    from exporters.tensorrt.cuda import Cuda

    with Cuda() as cuda:
        runtime = trt.Runtime(log)
        engine = runtime.deserialize_cuda_engine(Path(job["engine"]).read_bytes())
        if engine is None:
            return {"ok": False, "kind": "run", "error": f"this GPU cannot load the engine: {_last(log)}"}, None
        context = engine.create_execution_context()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        shape = tuple(engine.get_tensor_shape(names[0]))
        batch = None if shape[0] == -1 else shape[0]
        shaped = as_shaped(inputs, shape[1:], job["engine"])

        def call(part: Any) -> Any:
            context.set_input_shape(names[0], part.shape)
            output = np.empty(
                tuple(context.get_tensor_shape(names[1])), dtype=trt.nptype(engine.get_tensor_dtype(names[1]))
            )
            cuda.execute(context, names, np.ascontiguousarray(part), output)
            return output.astype(np.float32)

        outputs = in_batches(call, shaped, batch)
        first = shaped[: batch or 1]
        return {"ok": True, "name": engine.name, "latency_ms": median_ms(lambda: call(first))}, outputs


def _last(log: Any) -> str:
    return " ".join(" | ".join(log.lines[-LOG_LINES:]).split()) or "it logged nothing"
