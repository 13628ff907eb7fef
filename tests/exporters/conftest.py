"""One small MBConv network, trained for some seconds on scikit-learn's digits, shared by every test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from exporters import EXPORTERS, ExportOptions, ExportReport, Metadata, Preprocessing, Samples, export_all

PREPROCESSING = Preprocessing(mean=(0.3, 0.4, 0.5), std=(0.25, 0.3, 0.35))
LABELS = tuple(f"digit {number}" for number in range(10))
METADATA = Metadata(labels=LABELS, architecture="r16_test", budget={"latency_ms": 2.0}, source_sha256="ab" * 32)


class MBConv(nn.Module):
    """An inverted residual, as the product's networks are made of."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        mid: int,
        se: int,
        activation: type[nn.Module],
    ) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(inputs, mid, 1, bias=False), nn.BatchNorm2d(mid), activation())
        depthwise = nn.Conv2d(mid, mid, kernel, stride, kernel // 2, groups=mid, bias=False)
        self.depthwise = nn.Sequential(depthwise, nn.BatchNorm2d(mid), activation())
        self.gate = _gate(mid, se) if se else nn.Identity()
        self.project = nn.Sequential(nn.Conv2d(mid, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.gated, self.residual = se > 0, inputs == outputs and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.depthwise(self.expand(x))
        y = self.project(y * self.gate(y) if self.gated else y)
        return x + y if self.residual else y


def _gate(channels: int, squeezed: int) -> nn.Module:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(channels, squeezed, 1),
        nn.ReLU(),
        nn.Conv2d(squeezed, channels, 1),
        nn.Hardsigmoid(),
    )


def small_network(classes: int = 10) -> nn.Sequential:
    """Every activation and block that the product uses, on 16-pixel images."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish()),
        MBConv(16, 24, 3, 2, 48, 0, nn.ReLU),
        MBConv(24, 24, 5, 1, 72, 8, nn.Hardswish),
        MBConv(24, 32, 3, 1, 72, 8, nn.SiLU),
        MBConv(32, 32, 3, 1, 96, 0, nn.ReLU6),
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(32, 64, 1, bias=False),
        nn.Hardswish(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(64, classes),
    )


@dataclass(frozen=True)
class Trained:
    """A network and the images that it was not trained on."""

    network: nn.Module
    samples: Samples


def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """1797 real digits as float32 (n, 3, 16, 16), normalised from whole pixels, and their classes."""
    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8).repeat(2, axis=1).repeat(2, axis=2)
    return PREPROCESSING.normalised(np.repeat(pixels[..., None], 3, axis=-1)), digits.target


@pytest.fixture(scope="session")
def trained() -> Trained:
    images, labels = digit_images()
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=360, random_state=0, stratify=labels
    )
    torch.manual_seed(0)
    torch.set_num_threads(1)  # several threads on a busy machine wait for each other
    network = small_network()
    inputs, targets = torch.from_numpy(train), torch.from_numpy(train_labels)
    epochs, batch = 6, 64
    steps = epochs * -(-len(inputs) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(epochs):
        for part in torch.split(torch.randperm(len(inputs)), batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[part]), targets[part]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    samples = Samples(test, test_labels, calibration=train[:200])
    return Trained(network.eval(), samples)


@dataclass(frozen=True)
class Exported:
    """An export folder and what its export reported, by target."""

    folder: Path
    reports: dict[str, ExportReport]


def available(target: str) -> bool:
    """Whether the target's tools are installed here."""
    return all(need.found for need in EXPORTERS[target].needs)


def unsupported_network() -> nn.Module:
    """A classifier with an operator that no phone format has."""

    class Bessel(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = torch.special.bessel_j0(x)
            return result

    return nn.Sequential(Bessel(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))


def _export(
    trained: Trained, folder: Path, targets: Sequence[str], images: int | None, options: ExportOptions
) -> Exported:
    samples = trained.samples
    labels = None if samples.labels is None else samples.labels[:images]
    samples = Samples(samples.images[:images], labels, samples.calibration)
    reports = export_all(trained.network, samples, targets, folder, METADATA, options)
    return Exported(folder, {report.format: report for report in reports})


@pytest.fixture(scope="session")
def engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="session")
def exported(trained: Trained, engine_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Every target whose tools are installed, exported once."""
    targets = [target for target in EXPORTERS if available(target)]
    return _export(trained, tmp_path_factory.mktemp("exported"), targets, None, ExportOptions(cache_dir=engine_cache))


@pytest.fixture(scope="session")
def exported_again(trained: Trained, engine_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same network in the same targets where they promise the same bytes; fewer images to compare on."""
    targets = [target for target, exporter in EXPORTERS.items() if available(target) and exporter.repeatable]
    return _export(trained, tmp_path_factory.mktemp("again"), targets, 8, ExportOptions(cache_dir=engine_cache))


@pytest.fixture(scope="session")
def folded(trained: Trained, engine_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """One target of each format that takes pixels and returns probabilities."""
    targets = ["onnx", "ort", "coreml-fp16", "tensorrt", "litert", "executorch"]
    options = ExportOptions(preprocessing=PREPROCESSING, softmax=True, cache_dir=engine_cache)
    return _export(trained, tmp_path_factory.mktemp("folded"), [t for t in targets if available(t)], 200, options)
