"""A network that is not ours: residual blocks, max pooling, `view(x.size(0), -1)`, written without this package."""

from pathlib import Path

import pytest
import torch
from torch import nn

from exporters import Metadata, export_all, verify
from tests.exporters.conftest import Trained, available, digit_images


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Foreign(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.Sequential(BasicBlock(12, 16, 1), BasicBlock(16, 24, 2))
        self.head = nn.Linear(24 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.pool(torch.relu(self.stem(x))))
        logits: torch.Tensor = self.head(x.view(x.size(0), -1))
        return logits


@pytest.fixture(scope="module")
def foreign() -> nn.Module:
    torch.manual_seed(0)
    network = Foreign()
    images, labels = digit_images()
    inputs, targets = torch.from_numpy(images), torch.from_numpy(labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for part in torch.split(torch.randperm(len(inputs)), 64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs[part]), targets[part]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


def test_any_module_of_torch_can_be_exported(foreign: nn.Module, trained: Trained, tmp_path: Path) -> None:
    wanted = ["onnx", "onnx-fp16", "onnx-int8", "ort", "coreml-fp16", "litert", "executorch"]
    targets = [target for target in wanted if available(target)]
    reports = export_all(foreign, trained.samples, targets, tmp_path, Metadata(architecture="theirs"))
    assert {report.format: report.parity.status for report in reports} == dict.fromkeys(targets, "passed")
    assert all((report.parity.accuracy_after or 0) > 0.8 for report in reports)
    assert {report.parity.status for report in verify(tmp_path)} == {"passed"}
