"""TensorRT: engines for NVIDIA GPUs, by `tensorrt` (Jetson, servers) or `tensorrt_rtx` (needs no GPU to build)."""

import hashlib
import importlib.metadata
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from exporters.dependencies import TENSORRT, TENSORRT_RUN, Dependency
from exporters.errors import CannotRun, ConversionFailed, UnsupportedOperator
from exporters.files import sha256, staging_folder
from exporters.onnx.write import onnx_file
from exporters.process import Limits, WorkerDied, ask
from exporters.request import Array, ExportRequest, Precision
from exporters.runtime import Runtime

WORKER: Final = "exporters.tensorrt.worker"
LIMITS: Final = Limits(seconds=1800)
LARGEST_BATCH = 64
OPERATOR_HINT = "use operators that TensorRT has, or another opset"


@dataclass(frozen=True, slots=True)
class TensorrtExporter:
    """Writes `.engine` from the ONNX file of the same precision, strongly typed; runs it where a GPU is.

    Engines are not the same bytes from build to build. They are kept in a cache by ONNX hash, TensorRT
    version and target GPUs, so the same export twice is the same file on one machine.
    """

    target: str
    precision: Precision
    suffix: ClassVar[str] = ".engine"
    needs: ClassVar[tuple[Dependency, ...]] = TENSORRT
    runs_with: ClassVar[tuple[Dependency, ...]] = TENSORRT_RUN
    repeatable: ClassVar[bool] = False

    def convert(self, request: ExportRequest, path: Path) -> Mapping[str, str]:
        """Build in a subprocess, or take from the cache; the notes say which, and for which GPUs."""
        module = _module()
        source = onnx_file(request, self.precision, "tensorrt" if self.precision == "int8" else "")
        targets = list(request.options.gpu_targets) if module == "tensorrt_rtx" else []
        key = _key(source, module, targets)
        cache = request.options.cache_dir or default_cache()
        kept = cache / f"{key}.engine"
        notes = {
            "built_with": f"{module} {_version(module)}",
            "gpu_targets": ", ".join(targets) or "the GPU here",
        }
        if _intact(kept):
            path.write_bytes(kept.read_bytes())
            return {**notes, "cache": "hit"}
        cache.mkdir(parents=True, exist_ok=True)
        job = {
            "module": module,
            "onnx": str(source),
            "engine": str(path),
            "name": f"{request.metadata.architecture} {request.metadata.source_sha256}".strip(),
            "capabilities": targets,
            "largest_batch": LARGEST_BATCH,
            "timing_cache": str(cache / f"timing-{module}-{_version(module)}.cache"),
            "keep_timing_cache": module == "tensorrt",  # tensorrt_rtx chooses kernels on the device, it times none
        }
        answer = work("build", job)[0]
        if not answer["ok"]:
            if answer["kind"] == "operator":
                raise UnsupportedOperator(f"tensorrt cannot build {answer['error']}; {OPERATOR_HINT}")
            raise ConversionFailed(f"tensorrt: {answer['error']}")
        _keep(path, kept)
        return {**notes, "cache": "miss", "layers": str(answer["layers"])}

    def open(self, path: Path) -> Sequence[Runtime]:
        """The engine on this machine's GPU; CannotRun where there is none that can load it."""
        return [TensorrtRuntime(path)]


class TensorrtRuntime:
    """Runs the engine in a process of its own, all inputs in one go."""

    def __init__(self, path: Path) -> None:
        """CannotRun without a GPU, or with one that the engine was not built for."""
        from exporters.tensorrt.cuda import Cuda

        try:
            with Cuda():
                pass
        except CannotRun as error:
            raise CannotRun(f"built, not run: {error}") from error
        self._path, self._module = path, _module()

    @cached_property
    def by(self) -> str:
        return f"{self._module} {_version(self._module)}, GPU"

    @property
    def metadata(self) -> dict[str, str]:
        return {}

    def run(self, inputs: Array) -> Array:
        return self._run(inputs)[0]

    def latency_ms(self, inputs: Array) -> float | None:
        return self._run(inputs)[1]

    def _run(self, inputs: Array) -> tuple[Array, float]:
        """Outputs, and milliseconds of one batch with its copies to and from the GPU."""
        answer, outputs = work("run", {"module": self._module, "engine": str(self._path.absolute())}, inputs)
        if outputs is None:
            raise CannotRun(f"tensorrt: {answer['error']}")
        return outputs, float(answer["latency_ms"])

    def tensors(self, inputs: Array) -> list[tuple[str, Array]] | None:
        return None


def work(action: str, job: Mapping[str, Any], inputs: Array | None = None) -> tuple[dict[str, Any], Array | None]:
    """The worker's answer, and outputs (n, classes) for inputs (n, c, h, w); ConversionFailed with its last words."""
    try:
        return ask(WORKER, job, LIMITS, inputs)
    except WorkerDied as death:
        raise ConversionFailed(f"tensorrt: the {action} process {death}") from death


def default_cache() -> Path:
    """Where engines are kept: below $XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pocketnas" / "tensorrt"


def _module() -> str:
    found = TENSORRT[-1].found
    if found is None:
        raise CannotRun("neither tensorrt nor tensorrt_rtx is installed")
    return found


def _version(module: str) -> str:
    return importlib.metadata.version(importlib.metadata.packages_distributions()[module][0])


def _key(source: Path, module: str, targets: list[str]) -> str:
    text = json.dumps([sha256(source), module, _version(module), targets, LARGEST_BATCH, "" if targets else _gpu()])
    return hashlib.sha256(text.encode()).hexdigest()


def _gpu() -> str:
    """What `tensorrt` builds for: the first GPU's name and driver."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        model = Path("/proc/device-tree/model")  # a Jetson's
        return model.read_text() if model.exists() else ""


def _intact(kept: Path) -> bool:
    digest = kept.with_suffix(".sha256")
    return kept.exists() and digest.exists() and digest.read_text() == sha256(kept)


def _keep(path: Path, kept: Path) -> None:
    with staging_folder(kept.parent) as staging:
        staged = staging / kept.name
        staged.write_bytes(path.read_bytes())
        kept.with_suffix(".sha256").write_text(sha256(staged))
        staged.replace(kept)
