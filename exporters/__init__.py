"""A trained network in, files that phones run out, each with the proof that it computes the same.

from exporters import Metadata, Samples, export_all
export_all(network, Samples(images, labels), ["onnx", "coreml-fp16"], Path("out"), Metadata())

Each name but the errors' is loaded when it is first used, so that a command that exports nothing does not wait for it.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

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

if TYPE_CHECKING:
    from exporters.export import export_all
    from exporters.opened import ModelFile, open_file
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
    from exporters.verification import verify

_REQUEST: Final = "THRESHOLDS ExportOptions ExportRequest Metadata Preprocessing Resize Samples Threshold image_input"
_PLACES: Final = {
    "export_all": "export",
    "ModelFile": "opened",
    "open_file": "opened",
    "EXPORTERS": "registry",
    "OPTIONAL": "registry",
    "Exporter": "registry",
    "ExportReport": "report",
    "Parity": "report",
    "verify": "verification",
    **dict.fromkeys(_REQUEST.split(), "request"),
}

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
    if name not in _PLACES:
        raise AttributeError(f"module 'exporters' has no attribute {name!r}")
    return getattr(importlib.import_module(f"exporters.{_PLACES[name]}"), name)
