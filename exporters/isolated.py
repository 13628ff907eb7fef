"""Files from elsewhere in processes of their own: native runtimes crash and hang on damaged ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from exporters import errors
from exporters.errors import RunFailed
from exporters.process import Worker, WorkerDied
from exporters.registry import EXPORTERS, Exporter
from exporters.request import Array
from exporters.runtime import Runtime
from exporters.stopwatch import RUNS, WARM_UPS

WORKER: Final = "exporters.isolated_worker"
MEMORY_BYTES: Final = 8 << 30
SECONDS: Final = 180.0  # to start and to open a file: a busy machine takes 30 to import coremltools
SECONDS_AN_IMAGE: Final = 2.0
# Formats whose runtimes have workers of their own, and those whose runtimes are trusted with no file, not even ours.
_OWN_WORKER: Final = frozenset({"coreai", "tensorrt"})
# (ONNX Runtime 1.31 crashes while it lays out the convolutions of some fp16 files in blocks.)
_NEVER_TRUSTED: Final = frozenset({"executorch", "litert", "onnx-fp16"})


def opened(exporter: Exporter, path: Path, ours: bool = False) -> Sequence[Runtime]:
    """What `exporter.open` gives, in a process of its own; in this one for a file that is `ours`, just written.

    Exporters of one's own work in this one. Raises what `open` does, and RunFailed where the runtime crashes.
    """
    kind = exporter.target.partition("-")[0]
    known = EXPORTERS.get(exporter.target) is exporter and kind not in _OWN_WORKER
    if not known or (ours and _NEVER_TRUSTED.isdisjoint((kind, exporter.target))):
        return exporter.open(path)
    worker = Worker(WORKER, MEMORY_BYTES)
    names = _ask(worker, _job(exporter.target, path, "open"), SECONDS)[0]["by"]
    return [IsolatedRuntime(worker, exporter.target, path, number, str(by)) for number, by in enumerate(names)]


class IsolatedRuntime:
    """One of the runtimes of a file, in the process `worker`, which has `seconds` and more by the image to answer."""

    def __init__(self, worker: Worker, target: str, path: Path, number: int, by: str) -> None:
        self._worker, self._target, self._path, self._number, self.by = worker, target, path, number, by
        self.seconds = SECONDS

    @property
    def metadata(self) -> dict[str, str]:
        return dict(self._ask("metadata")[0]["metadata"])

    def run(self, inputs: Array) -> Array:
        return self._ask("run", inputs)[1][0]

    def latency_ms(self, inputs: Array) -> float | None:
        found = self._ask("latency_ms", inputs, WARM_UPS + RUNS)[0]["latency_ms"]
        return None if found is None else float(found)

    def tensors(self, inputs: Array) -> list[tuple[str, Array]] | None:
        document, values = self._ask("tensors", inputs)
        return None if document["names"] is None else list(zip(document["names"], values, strict=True))

    def _ask(self, what: str, inputs: Array | None = None, times: int = 1) -> tuple[Any, list[Array]]:
        images = 0 if inputs is None else len(inputs) * times
        job = {**_job(self._target, self._path, what), "number": self._number}
        return _ask(self._worker, job, self.seconds + SECONDS_AN_IMAGE * images, inputs)


def _job(target: str, path: Path, what: str) -> dict[str, Any]:
    return {"target": target, "path": str(path.absolute()), "told": str(path), "what": what}


def _ask(worker: Worker, job: dict[str, Any], seconds: float, inputs: Array | None = None) -> tuple[Any, list[Array]]:
    try:
        document, arrays = worker.ask(job, seconds, inputs)
    except WorkerDied as death:
        raise RunFailed(f"{job['told']} cannot be executed: the process that runs it {death}") from death
    if (kind := document.get("error")) is not None:
        raise getattr(errors, kind)(document["message"])
    return document, arrays
