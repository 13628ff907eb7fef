"""A trained network in, files that phones run out, each with the proof that it computes the same.

from exporters import Metadata, Samples, export_all
export_all(network, Samples(images, labels), ["onnx", "coreml-fp16"], Path("out"), Metadata())
"""

from typing import TYPE_CHECKING, Any

from exporters.errors import (
    CannotRun,
    ConversionFailed,
    ExportError,
    MissingDependency,
    NotWritten,
    ParityError,
    RunFailed,
    UnknownTarget,
    UnsupportedOperator,
    WrongInput,
)
from exporters.export import export_all
from exporters.registry import EXPORTERS, OPTIONAL, Exporter
from exporters.report import ExportReport, Parity
from exporters.request import (
    THRESHOLDS,
    ExportOptions,
    ExportRequest,
    Metadata,
    Preprocessing,
    Resize,
    Samples,
    Threshold,
    image_input,
)
from exporters.verify import verify

if TYPE_CHECKING:
    from exporters.opened import ModelFile, open_file

__all__ = [
    "EXPORTERS",
    "OPTIONAL",
    "THRESHOLDS",
    "CannotRun",
    "ConversionFailed",
    "ExportError",
    "ExportOptions",
    "ExportReport",
    "ExportRequest",
    "Exporter",
    "Metadata",
    "MissingDependency",
    "ModelFile",
    "NotWritten",
    "Parity",
    "ParityError",
    "Preprocessing",
    "Resize",
    "RunFailed",
    "Samples",
    "Threshold",
    "UnknownTarget",
    "UnsupportedOperator",
    "WrongInput",
    "export_all",
    "image_input",
    "open_file",
    "verify",
]


def __getattr__(name: str) -> Any:
    # What reads files back needs pydantic, which who writes them need not wait for.
    if name in ("ModelFile", "open_file"):
        from exporters import opened

        return getattr(opened, name)
    raise AttributeError(f"module 'exporters' has no attribute {name!r}")
