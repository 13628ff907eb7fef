"""Core ML packages: what is stored in them, and that the interpreter reads just that."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from exporters import (
    CannotRun,
    ConversionFailed,
    ExportOptions,
    Metadata,
    Preprocessing,
    Samples,
    UnsupportedOperator,
    WrongInput,
    export_all,
    verify,
)
from exporters.coreml.run import WEIGHTS, AppleRuntime, MilRuntime, read_specification
from tests.exporters.conftest import LABELS, Exported, Trained
from tests.exporters.networks import Function


def operators(folder: Path, name: str) -> set[str]:
    program = read_specification(folder / name).mlProgram
    (function,) = program.functions.values()
    (block,) = function.block_specializations.values()
    return {operation.type for operation in block.operations}


def test_image_in_class_label_and_probabilities_out(folded: Exported) -> None:
    description = read_specification(folded.folder / "model-fp16.mlpackage").description
    (image,) = description.input
    assert (image.name, image.type.WhichOneof("Type")) == ("image", "imageType")
    assert (image.type.imageType.width, image.type.imageType.height) == (16, 16)
    assert description.predictedFeatureName == "classLabel"
    assert [output.type.WhichOneof("Type") for output in description.output] == ["stringType", "dictionaryType"]
    spec = read_specification(folded.folder / "model-fp16.mlpackage")
    assert LABELS[7].encode() in spec.SerializeToString()


@pytest.mark.parametrize(("ios", "version"), [(15, 6), (18, 9)])
def test_the_deployment_target_is_the_one_asked(trained: Trained, tmp_path: Path, ios: int, version: int) -> None:
    # From iOS 18 on compressed weights are stored by other operators.
    targets = ["coreml-fp16", "coreml-int8", "coreml-palettized"] if ios == 18 else ["coreml-fp16"]
    samples = Samples(trained.samples.images[:20])
    reports = export_all(trained.network, samples, targets, tmp_path, Metadata(), ExportOptions(ios=ios))
    assert {report.parity.status for report in reports} == {"passed"}
    assert read_specification(tmp_path / "model-fp16.mlpackage").specificationVersion == version
    if ios == 18:
        assert "constexpr_blockwise_shift_scale" in operators(tmp_path, "model-int8.mlpackage")


def test_precision_and_compression_are_what_is_stored(exported: Exported) -> None:
    names = ("model", "model-fp16", "model-int8", "model-palettized")
    full, half, *compressed = (
        (exported.folder / f"{name}.mlpackage" / WEIGHTS / "weight.bin").stat().st_size for name in names
    )
    assert half < 0.6 * full
    assert max(compressed) < 0.9 * half  # weights of fewer than 2048 numbers stay as they are
    assert "constexpr_affine_dequantize" in operators(exported.folder, "model-int8.mlpackage")
    assert "constexpr_lut_to_dense" in operators(exported.folder, "model-palettized.mlpackage")
    assert "batch_norm" not in operators(exported.folder, "model.mlpackage")


def test_the_interpreter_reads_the_saved_weights(exported: Exported, trained: Trained, tmp_path: Path) -> None:
    package = tmp_path / "model.mlpackage"
    shutil.copytree(exported.folder / "model.mlpackage", package)
    images = trained.samples.images[:4]
    expected = MilRuntime(package).run(images)
    blob = package / WEIGHTS / "weight.bin"
    data = bytearray(blob.read_bytes())
    weight = np.frombuffer(data, np.float32, count=16, offset=len(data) // 2 // 4 * 4)
    weight += 3  # a view: writes into `data`
    blob.write_bytes(data)
    assert np.abs(MilRuntime(package).run(images) - expected).max() > 1e-2


def test_the_interpreter_rounds_as_the_program_declares(exported: Exported, trained: Trained) -> None:
    tensors = MilRuntime(exported.folder / "model-fp16.mlpackage").tensors(trained.samples.images[:1])
    assert tensors is not None
    half = [values for name, values in tensors if name.endswith("_cast_fp16")]
    assert len(half) > 20
    assert all(np.array_equal(values, values.astype(np.float16)) for values in half)


def test_an_unknown_operator_is_refused_by_name_or_left_unverified(trained: Trained, tmp_path: Path) -> None:
    network = nn.Sequential(Function(torch.tan), nn.Flatten(), nn.Linear(768, 10))
    targets = ["coreml", "onnx"]
    with pytest.raises(UnsupportedOperator, match=r"interpreter does not know tan .*--allow-unverified") as caught:
        export_all(network, trained.samples, targets, tmp_path, Metadata())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.mlpackage").exists()
    reports = export_all(network, trained.samples, targets, tmp_path, Metadata(), allow_unverified=True)
    assert [report.parity.status for report in reports] == ["not run", "passed"]
    assert "converted, not executed: the MIL interpreter does not know tan" in reports[0].parity.reason
    assert (tmp_path / "model.mlpackage").is_dir()
    assert [report.parity.status for report in verify(tmp_path)] == ["not run", "passed"]


def test_an_image_input_has_one_or_three_channels(trained: Trained, tmp_path: Path) -> None:
    samples = Samples(trained.samples.images[:, :2].copy())
    options = ExportOptions(preprocessing=Preprocessing((0.5, 0.5), (0.5, 0.5)))
    network = nn.Sequential(nn.Flatten(), nn.Linear(512, 10))
    with pytest.raises(WrongInput, match="not 2 channels"):
        export_all(network, samples, ["coreml"], tmp_path, Metadata(), options)


def test_a_greyscale_image_input(trained: Trained, tmp_path: Path) -> None:
    samples = Samples(trained.samples.images[:, :1].copy())
    options = ExportOptions(preprocessing=Preprocessing((0.3,), (0.25,)))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    (report,) = export_all(network, samples, ["coreml"], tmp_path, Metadata(), options)
    assert report.parity.status == "passed"
    image = read_specification(tmp_path / "model.mlpackage").description.input[0].type.imageType
    assert image.ColorSpace.Name(image.colorSpace) == "GRAYSCALE"


def test_a_conversion_that_coremltools_cannot_do_is_one_line(trained: Trained, tmp_path: Path) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d((3, 3)), nn.Flatten(), nn.Linear(27, 10))
    with pytest.raises((ConversionFailed, CannotRun)) as caught:
        export_all(network, trained.samples, ["coreml"], tmp_path, Metadata(), ExportOptions(batch=None))
    assert "coreml" in str(caught.value) and "\n" not in str(caught.value)


def test_apples_runtime_is_not_pretended_elsewhere(exported: Exported) -> None:
    if sys.platform == "darwin":
        pytest.skip("here Core ML itself runs")
    with pytest.raises(CannotRun, match="macOS"):
        AppleRuntime(exported.folder / "model.mlpackage")
    assert "Apple's runtime: not run" in exported.reports["coreml"].parity.by
