"""One small MBConv network, trained for some seconds on scikit-learn's digits, shared by every test."""

import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from exporters import EXPORTERS, ExportOptions, ExportReport, Metadata, Preprocessing, Samples, export_all, manifest

# In the environment of one tool its targets alone are tried: the main environment tries the others.
ONLY_TOOL = os.environ.get("POCKETNAS_TOOL", "")
PREPROCESSING = Preprocessing(mean=(0.3, 0.4, 0.5), std=(0.25, 0.3, 0.35))
LABELS = tuple(f"digit {number}" for number in range(10))
METADATA = Metadata(
    labels=LABELS,
    architecture="r16_test",
    budget={"latency_ms": 2.0},
    source_sha256="ab" * 32,
    mean=PREPROCESSING.mean,
    std=PREPROCESSING.std,
)


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


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name`, filled by `make` once for all worker processes of this test run."""
    root = factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / name
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            folder.mkdir()
            make(folder)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    images, labels = digit_images()
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=360, random_state=0, stratify=labels
    )
    torch.set_num_threads(1)  # several threads on a busy machine wait for each other
    folder = once(tmp_path_factory, "trained", lambda folder: _train(train, train_labels, folder))
    network = small_network()
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    return Trained(network.eval(), Samples(test, test_labels, calibration=train[:200]))


def _train(images: np.ndarray, labels: np.ndarray, folder: Path) -> None:
    torch.manual_seed(0)
    network = small_network()
    inputs, targets = torch.from_numpy(images), torch.from_numpy(labels)
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
    save_file(network.state_dict(), folder / "weights.safetensors")


@dataclass(frozen=True)
class Exported:
    """An export folder and what its export reported, by target."""

    folder: Path
    reports: dict[str, ExportReport]


def installed(target: str) -> bool:
    """Whether the target's tools are installed here."""
    return all(need.found for need in EXPORTERS[target].needs)


def available(target: str) -> bool:
    """Whether the target is tried here."""
    return installed(target) and ONLY_TOOL in ("", target.partition("-")[0])


def unsupported_network() -> nn.Module:
    """A classifier with an operator that no phone format has."""

    class Bessel(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = torch.special.bessel_j0(x)
            return result

    return nn.Sequential(Bessel(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))


def _exported(
    factory: pytest.TempPathFactory,
    name: str,
    trained: Trained,
    targets: Sequence[str],
    images: int | None = None,
    **options: Any,
) -> Exported:
    """The targets whose tools are installed, in the folder `name`, compared on the first `images` images."""
    samples, cache = trained.samples, once(factory, "engines", lambda _: None)
    labels = None if samples.labels is None else samples.labels[:images]

    def make(folder: Path) -> None:
        some = Samples(samples.images[:images], labels, samples.calibration)
        chosen = [target for target in targets if available(target) or target == "onnx"]  # others are made of it
        export_all(
            trained.network, some, chosen, folder / "exports", METADATA, ExportOptions(cache_dir=cache, **options)
        )

    folder = once(factory, name, make) / "exports"
    reports = [entry.report() for entry in manifest.read(folder).exports]
    return Exported(folder, {report.format: report for report in reports})


@pytest.fixture(scope="session")
def engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "engines", lambda _: None)


@pytest.fixture(scope="session")
def exported(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Every target, exported once."""
    return _exported(tmp_path_factory, "exported", trained, list(EXPORTERS))


@pytest.fixture(scope="session")
def exported_again(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same network in the targets that promise the same bytes; fewer images to compare on."""
    repeatable = [target for target, exporter in EXPORTERS.items() if exporter.repeatable]
    return _exported(tmp_path_factory, "again", trained, repeatable, images=8)


@pytest.fixture(scope="session")
def folded(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """One target of each format that takes pixels and returns probabilities."""
    targets = ["onnx", "ort", "coreml-fp16", "tensorrt", "litert", "executorch", "coreai", "pt2"]
    return _exported(
        tmp_path_factory, "folded", trained, targets, images=200, preprocessing=PREPROCESSING, softmax=True
    )
