"""What runs networks on a device, and the files that it reads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from latency_tables.errors import TableError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import PRECISIONS, Precision


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime by the name that tables record, its files' suffix, a network as such a file, and the precisions that
    there are of it."""

    name: str
    suffix: str
    file_bytes: Callable[[NamedModel], bytes]
    precisions: tuple[Precision, ...] = PRECISIONS

    def require(self, precision: Precision) -> None:
        """TableError unless networks are measured in `precision`."""
        if precision not in self.precisions:
            raise TableError(f"{self.name} is measured in {' or '.join(self.precisions)}, not in {precision}")


ONNXRUNTIME: Final = Runtime("onnxruntime", ".onnx", lambda model: model.onnx_bytes)
LITERT: Final = Runtime("litert", ".tflite", lambda model: model.tflite_bytes, ("fp32", "int8"))
COREML: Final = Runtime("coreml", ".mlpackage.zip", lambda model: model.coreml_bytes)
# Those that the runner script has.
RUNTIMES: Final = {runtime.name: runtime for runtime in (ONNXRUNTIME, LITERT)}


def read_runtime(name: str) -> Runtime:
    """The runtime of that name. Raises TableError."""
    if name not in RUNTIMES:
        raise TableError(f"runtime {name!r} is unknown; accepted are {', '.join(RUNTIMES)}")
    return RUNTIMES[name]
