"""Opening and running exported files, for `exporters.isolated`."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from exporters.errors import ExportError, RunFailed
from exporters.pt2.write import Pt2Exporter
from exporters.quiet import first_line
from exporters.registry import EXPORTERS
from exporters.request import Array
from exporters.runtime import Runtime

LARGEST_OUTPUT: Final = 1 << 30  # bytes


def answer(job: dict[str, Any], inputs: Array | None) -> tuple[dict[str, Any], list[Array]]:
    """What the job asks of the file, for inputs (n, c, h, w), or kind and message of the error that this raises."""
    try:
        return _answer(job, inputs)
    except ExportError as error:
        # The file's name as the user gave it.
        message = str(error).replace(job["path"], job["told"])
        return {"error": type(error).__name__, "message": message}, []
    except Exception as error:  # a runtime raises what it likes, and so does what reads a damaged file
        message = f"{job['told']} cannot be executed: {type(error).__name__}: {first_line(error)}"
        return {"error": RunFailed.__name__, "message": message}, []


def _answer(job: dict[str, Any], inputs: Array | None) -> tuple[dict[str, Any], list[Array]]:
    runtimes = _opened(job["target"], job["path"])
    if job["what"] == "open":
        return {"by": [runtime.by for runtime in runtimes]}, []
    runtime = runtimes[job["number"]]
    if job["what"] == "metadata":
        return {"metadata": runtime.metadata}, []
    assert inputs is not None
    if job["what"] == "latency_ms":
        return {"latency_ms": runtime.latency_ms(inputs)}, []
    if job["what"] == "tensors":
        found = runtime.tensors(inputs)
        names = None if found is None else [name for name, _ in found]
        return {"names": names}, [value for _, value in found or ()]
    outputs = runtime.run(inputs)
    if outputs.nbytes > LARGEST_OUTPUT:
        raise RunFailed(f"{job['told']} returns {outputs.nbytes >> 20} MiB, more than any classifier")
    return {}, [outputs]


@functools.cache
def _opened(target: str, path: str) -> Sequence[Runtime]:
    exporter = EXPORTERS[target]
    return exporter.open_foreign(Path(path)) if isinstance(exporter, Pt2Exporter) else exporter.open(Path(path))
