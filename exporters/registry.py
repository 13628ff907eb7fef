"""Every target that can be asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from exporters.coreai.write import CoreaiExporter
from exporters.coreml.write import CoremlExporter
from exporters.dependencies import COREAI, COREAI_INT8, Dependency
from exporters.errors import UnknownTarget, WrongInput
from exporters.executorch.write import ExecutorchExporter
from exporters.litert.write import LitertExporter
from exporters.onnx.ort import OrtExporter
from exporters.onnx.write import OnnxExporter
from exporters.pt2.write import Pt2Exporter
from exporters.request import ExportRequest, Precision
from exporters.runtime import Runtime
from exporters.tensorrt.write import TensorrtExporter


class Exporter(Protocol):
    """One format in one precision."""

    @property
    def target(self) -> str:
        """The name that users ask for it by; the part before the first dash is its format."""

    @property
    def precision(self) -> Precision:
        """Decides which parity thresholds hold."""

    @property
    def suffix(self) -> str:
        """Of the file's name."""

    @property
    def needs(self) -> tuple[Dependency, ...]:
        """What has to be installed to write the file."""

    @property
    def runs_with(self) -> tuple[Dependency, ...]:
        """What has to be installed to run the file, on another machine too."""

    @property
    def repeatable(self) -> bool:
        """Whether the same weights give the same bytes."""

    def convert(self, request: ExportRequest, path: Path) -> Mapping[str, str]:
        """Write the file and return notes for its report; raises an ExportError where that fails."""

    def open(self, path: Path) -> Sequence[Runtime]:
        """What executes the file on this machine, all of which must agree; CannotRun where nothing does."""


_ALL: Final[tuple[Exporter, ...]] = (
    OnnxExporter("onnx", "fp32"),
    OnnxExporter("onnx-fp16", "fp16"),
    OnnxExporter("onnx-int8", "int8", "onnxruntime"),
    OnnxExporter("onnx-int8-tensorrt", "int8", "tensorrt"),
    OrtExporter("ort", "fp32"),
    OrtExporter("ort-int8", "int8", "onnxruntime"),
    CoremlExporter("coreml", "fp32"),
    CoremlExporter("coreml-fp16", "fp16"),
    CoremlExporter("coreml-int8", "int8", "int8"),
    CoremlExporter("coreml-palettized", "int8", "palettized"),
    TensorrtExporter("tensorrt", "fp32"),
    TensorrtExporter("tensorrt-fp16", "fp16"),
    TensorrtExporter("tensorrt-int8", "int8"),
    LitertExporter("litert", "fp32"),
    ExecutorchExporter("executorch", "fp32"),
    CoreaiExporter("coreai", "fp32", COREAI),
    CoreaiExporter("coreai-fp16", "fp16", COREAI),
    CoreaiExporter("coreai-int8", "int8", COREAI_INT8),
    Pt2Exporter("pt2", "fp32"),
)
EXPORTERS: Final[Mapping[str, Exporter]] = {exporter.target: exporter for exporter in _ALL}
# What the default installation cannot write.
OPTIONAL: Final = frozenset(exporter.target for exporter in _ALL if any(need.extra for need in exporter.needs))


def chosen(targets: Sequence[str | Exporter]) -> list[Exporter]:
    """The exporters of `targets`, each once; UnknownTarget lists the known ones.

    An exporter of one's own stands for itself. Raises WrongInput where two have one name.
    """
    known = ", ".join(EXPORTERS)
    for target in targets:
        if isinstance(target, str) and target not in EXPORTERS:
            raise UnknownTarget(f"export target {target!r} is unknown; known are {known}")
    if not targets:
        raise UnknownTarget(f"no export target was given; known are {known}")
    found = dict.fromkeys(EXPORTERS[target] if isinstance(target, str) else target for target in targets)
    with_own([exporter for exporter in found if exporter not in _ALL])
    return list(found)


def with_own(exporters: Sequence[Exporter]) -> Mapping[str, Exporter]:
    """Every exporter by its target, ours and those given. Raises WrongInput where two have one name."""
    names = [exporter.target for exporter in exporters]
    if taken := sorted({name for name in names if name in EXPORTERS or names.count(name) > 1}):
        raise WrongInput(f"export target {taken[0]!r} stands for two exporters; give yours a name of its own")
    return {**EXPORTERS, **dict(zip(names, exporters, strict=True))}


def file_name(exporter: Exporter) -> str:
    """Of the target's file in an export folder: `model`, what distinguishes the target, the suffix."""
    _, dash, rest = exporter.target.partition("-")
    return f"model{dash}{rest}{exporter.suffix}"
