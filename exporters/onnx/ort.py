"""ORT: the format of ONNX Runtime's mobile builds, and what its NNAPI and Core ML providers would take over."""

import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from exporters.dependencies import ONNX, ONNX_RUN, Dependency
from exporters.errors import ConversionFailed
from exporters.onnx.run import OnnxRuntime
from exporters.onnx.write import onnx_file
from exporters.quiet import first_line
from exporters.request import ExportRequest, Precision
from exporters.runtime import Runtime


@dataclass(frozen=True, slots=True)
class OrtExporter:
    """Writes `.ort` from the ONNX file; its notes hold the mobile usability report.

    Two exports of the same weights differ in bytes: ONNX Runtime writes hash tables in their random order.
    """

    target: str
    precision: Precision
    recipe: str = ""
    suffix: ClassVar[str] = ".ort"
    needs: ClassVar[tuple[Dependency, ...]] = ONNX
    runs_with: ClassVar[tuple[Dependency, ...]] = ONNX_RUN
    repeatable: ClassVar[bool] = False

    def convert(self, request: ExportRequest, path: Path) -> Mapping[str, str]:
        """Write the file to `path`; the optimisations are those that every processor's kernels have."""
        import onnxruntime

        source = onnx_file(request, self.precision, self.recipe)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(path)
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.add_session_config_entry("session.save_model_format", "ORT")
        try:
            onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no base class but Exception
            raise ConversionFailed(f"ort: ONNX Runtime could not convert: {first_line(error)}") from error
        return {"mobile_usability": usability(source)}

    def open(self, path: Path) -> Sequence[Runtime]:
        """A session on this machine's CPU."""
        return [OnnxRuntime(path)]


def usability(path: Path) -> str:
    """What ONNX Runtime's own checker says about running the model with NNAPI and Core ML."""
    from onnxruntime.tools.mobile_helpers.usability_checker import analyze_model

    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.Logger("mobile_usability")
    logger.addHandler(handler)
    with contextlib.redirect_stdout(io.StringIO()):
        analyze_model(path.absolute(), skip_optimize=True, logger=logger)
    lines = stream.getvalue().splitlines()
    return "\n".join(line for line in lines if line and not line.startswith(("Checking /", "Nodes in", "====")))
