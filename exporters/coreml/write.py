"""Core ML: an mlprogram package, converted from a trace of the network."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from exporters.coreml.run import AppleRuntime, MilRuntime
from exporters.coreml.tool import import_coremltools
from exporters.dependencies import COREML, Dependency
from exporters.errors import ConversionFailed, ExportError, UnsupportedOperator, WrongInput
from exporters.files import sha256
from exporters.quiet import first_line, quiet
from exporters.request import INPUT_NAME, ExportRequest, Precision
from exporters.runtime import Runtime

Compression = Literal["", "int8", "palettized"]


@dataclass(frozen=True, slots=True)
class CoremlExporter:
    """Writes `.mlpackage`; runs its saved MIL program with this package's interpreter.

    `compression` is that of the weights; arithmetic is then fp16.
    With folded preprocessing the input is an image (RGB, or greyscale of one channel); with a folded
    softmax and labels, the output is a class label and its probabilities.
    """

    target: str
    precision: Precision
    compression: Compression = ""
    suffix: ClassVar[str] = ".mlpackage"
    needs: ClassVar[tuple[Dependency, ...]] = COREML
    runs_with: ClassVar[tuple[Dependency, ...]] = COREML
    repeatable: ClassVar[bool] = True

    def convert(self, request: ExportRequest, path: Path) -> Mapping[str, str]:
        """Write the package to `path`."""
        model = _converted(request, half=self.precision != "fp32")
        if self.compression:
            model = _compressed(model, self.compression)
        _describe(model, request)
        with quiet():
            model.save(str(path))
        _make_repeatable(path)
        return {}

    def open(self, path: Path) -> Sequence[Runtime]:
        """An interpreter of the saved program; on macOS Core ML itself too."""
        return [MilRuntime(path), AppleRuntime(path)] if sys.platform == "darwin" else [MilRuntime(path)]


def _converted(request: ExportRequest, half: bool) -> Any:
    """The converted model; made once per request and precision, as compression starts from it too."""
    path = request.scratch / f"converted-{'fp16' if half else 'fp32'}.mlpackage"
    if not path.exists():
        model = _from_torch(request, half)
        with quiet():
            model.save(str(path))
    with quiet():
        return import_coremltools().models.MLModel(str(path), skip_model_load=True)


def _from_torch(request: ExportRequest, half: bool) -> Any:
    """Through `torch.export`, whose convolutions stay convolutions; through a trace what it cannot follow."""
    from exporters.program import exported_program

    try:
        return _convert(_decomposed(exported_program(request, float_pixels=True)), request, half)
    except ExportError as first:
        if isinstance(first, WrongInput):
            raise
        try:
            return _convert(_traced(request), request, half)
        except ExportError:
            raise first from first.__cause__


def _decomposed(program: Any) -> Any:
    """With what coremltools has no translation for in its parts."""
    import torch

    from exporters.variances import variances

    parts = {**torch._decomp.get_decompositions([torch.ops.aten.channel_shuffle]), **variances()}
    with quiet():
        return program.run_decompositions(parts)


def _traced(request: ExportRequest) -> Any:
    import torch

    from exporters.deployed import deployed, example, traceable

    inputs = example(request, float_pixels=True)
    try:
        with quiet(), traceable():
            return torch.jit.trace(deployed(request, float_pixels=True), inputs, check_trace=False)  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever the network does while it is traced
        raise ConversionFailed(f"coreml: torch could not trace the network: {first_line(error)}") from error


def _convert(program: Any, request: ExportRequest, half: bool) -> Any:
    ct = import_coremltools()
    labels = request.metadata.labels if request.options.softmax else ()
    inputs = [_input_type(ct, request, request.samples.images.shape[1:])]
    try:
        with quiet():
            return ct.convert(
                program,
                inputs=inputs,
                outputs=None if labels else [ct.TensorType(request.options.output_name, dtype=np.float32)],
                classifier_config=ct.ClassifierConfig(list(labels)) if labels else None,
                convert_to="mlprogram",
                minimum_deployment_target=getattr(ct.target, f"iOS{request.options.ios}"),
                compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
                skip_model_load=True,
            )
    except NotImplementedError as error:
        raise UnsupportedOperator(f"coreml: {first_line(error).rstrip('.')}; replace it in the network") from error
    except Exception as error:  # coremltools raises what it likes
        raise ConversionFailed(f"coreml: coremltools could not convert: {first_line(error)}") from error


def _input_type(ct: Any, request: ExportRequest, shape: tuple[int, ...]) -> Any:
    batch = request.options.batch
    if request.options.preprocessing is None:
        full = (ct.RangeDim(1, 64, default=1) if batch is None else batch, *shape)
        return ct.TensorType(INPUT_NAME, shape=full, dtype=np.float32)
    layouts = {1: "GRAYSCALE", 3: "RGB"}
    if shape[0] not in layouts or batch != 1:
        raise WrongInput(
            f"coreml: an image input has 1 or 3 channels and batch 1, not {shape[0]} channels and batch {batch}"
        )
    layout = getattr(ct.colorlayout, layouts[shape[0]])
    return ct.ImageType(INPUT_NAME, shape=(1, *shape), color_layout=layout)


def _compressed(model: Any, compression: Compression) -> Any:
    ct = import_coremltools()
    optimize = ct.optimize.coreml
    with quiet():
        if compression == "int8":
            config = optimize.OptimizationConfig(optimize.OpLinearQuantizerConfig(mode="linear_symmetric"))
            return optimize.linear_quantize_weights(model, config)
        config = optimize.OptimizationConfig(optimize.OpPalettizerConfig(mode="kmeans", nbits=6))
        return optimize.palettize_weights(model, config)


def _describe(model: Any, request: ExportRequest) -> None:
    """Metadata of ours in; the conversion date out, or no two exports would be the same bytes."""
    model.user_defined_metadata.update(request.described())
    model.user_defined_metadata.pop("com.github.apple.coremltools.conversion_date", None)
    model.short_description = request.metadata.architecture or "image classifier"


def _make_repeatable(path: Path) -> None:
    """Maps in the program in the order of their keys; the items of Manifest.json named by their content.

    Protobuf writes maps in another order in each process, and coremltools gives items random identifiers.
    """
    import uuid

    from coremltools.proto import Model_pb2

    data = path / "Data" / "com.apple.CoreML"
    specification = Model_pb2.Model()
    specification.ParseFromString((data / "model.mlmodel").read_bytes())
    (data / "model.mlmodel").write_bytes(specification.SerializeToString(deterministic=True))
    for debugging in path.rglob("executorch_debug_handle_mapping.json"):
        debugging.unlink()
    manifest_path = path / "Manifest.json"
    manifest = json.loads(manifest_path.read_text())
    renamed = {
        old: str(uuid.uuid5(uuid.NAMESPACE_OID, entry["path"] + sha256(path / "Data" / entry["path"])))
        for old, entry in manifest["itemInfoEntries"].items()
    }
    manifest["itemInfoEntries"] = {renamed[old]: entry for old, entry in manifest["itemInfoEntries"].items()}
    manifest["rootModelIdentifier"] = renamed[manifest["rootModelIdentifier"]]
    manifest_path.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
