"""Networks broken on purpose: the error names the layer where the file begins to differ."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from exporters import ExportError, Metadata, ParityError, Samples, export_all, verify
from tests.exporters.conftest import Trained, available


def is_tracing() -> bool:
    return bool(torch._C._get_tracing_state() is not None or torch.compiler.is_exporting())


class Halved(nn.Module):
    """Computes something else when it is exported, as code that tests for tracing does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (0.7 if is_tracing() else 0.5)


class Scaled(nn.Module):
    """Multiplies, so that what follows leaves the range of fp16 (65504), or shrinks it back."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def broken(network: nn.Module, index: int, modules: list[nn.Module]) -> nn.Sequential:
    """A copy with `modules` in front of child `index`."""
    children = list(copy.deepcopy(network).children())
    return nn.Sequential(*children[:index], *modules, *children[index:]).eval()


@pytest.mark.parametrize("target", ["onnx", "coreml", "litert"])
def test_names_the_layer_whose_export_computes_something_else(trained: Trained, tmp_path: Path, target: str) -> None:
    if not available(target):
        pytest.skip(f"{target} is not installed")
    network = broken(trained.network, 3, [Halved()])
    with pytest.raises(ParityError, match=r"layer '3' .*drifts first") as caught:
        export_all(network, trained.samples, [target], tmp_path, Metadata())
    assert target in str(caught.value)
    assert caught.value.exit_code == 1


def test_names_the_layer_that_overflows_in_fp16(trained: Trained, tmp_path: Path) -> None:
    network = broken(trained.network, 4, [Scaled(1e5), Scaled(1e-5)])
    with pytest.raises(ParityError, match=r"layer '4' .*drifts first"):
        export_all(network, trained.samples, ["onnx-fp16"], tmp_path, Metadata())


def test_names_the_layer_that_eight_bits_cannot_hold(trained: Trained, tmp_path: Path) -> None:
    # One channel a million times larger takes the whole int8 range of its tensor: the others become zero.
    network = copy.deepcopy(trained.network)
    with torch.no_grad():
        network.get_parameter("4.project.1.weight")[0] = 1e4
        network.get_parameter("6.weight")[:, 0] = 0
    with pytest.raises(ParityError, match=r"layer '4.project.1' .*drifts first"):
        export_all(network, trained.samples, ["onnx-int8"], tmp_path, Metadata())


def test_a_failed_file_is_reported_but_not_kept_and_the_others_are(trained: Trained, tmp_path: Path) -> None:
    network = broken(trained.network, 4, [Scaled(1e5), Scaled(1e-5)])
    with pytest.raises(ExportError):
        export_all(network, trained.samples, ["onnx-fp16", "onnx"], tmp_path, Metadata())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export.json", "model.onnx", "reference.safetensors"]
    assert [report.parity.status for report in verify(tmp_path)] == ["failed", "passed"]


def test_not_a_number_never_passes(trained: Trained, tmp_path: Path) -> None:
    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sqrt(x) if is_tracing() else x

    with pytest.raises(ParityError, match="NaN"):
        export_all(broken(trained.network, 11, [Root()]), trained.samples, ["onnx"], tmp_path, Metadata())


def test_images_of_one_class_are_called_weak_evidence(trained: Trained, tmp_path: Path) -> None:
    assert trained.samples.labels is not None
    zeros = trained.samples.images[trained.samples.labels == 0]
    (report,) = export_all(trained.network, Samples(zeros[:2]), ["onnx"], tmp_path, Metadata())
    assert report.parity.status == "passed"
    assert "same class" in report.parity.reason
    assert report.parity.top1_agreement == 1
