"""Pictures for the space without a benchmark: enlarged CIFAR-10, and photographs of hand signs.

Reads `cifar10_train.parquet`, `cifar10_test.parquet` and `sign_digits_imagefolder.zip` of the public data.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import common
from pipeline.fewshot.prefix import JudgingImages
from pipeline.supernets.data import TrainingData
from pipeline.weights.catalogue import CATALOGUE

START, PIXELS = "efficientnet-lite0", 64  # of whose statistics the pictures are normalised with, and their side
Source = Literal["cifar10", "signs"]
CLASSES: dict[Source, tuple[str, ...]] = {
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "signs": tuple("0123456789"),
}
_MOST = 5000  # decoded of each file


@dataclass(frozen=True)
class Pictures:
    """What is trained on, what judges networks while they are ranked, and what says how good they truly are."""

    train: TrainingData
    search: TrainingData
    test: TrainingData
    classes: Sequence[str]

    def judging(self, batchnorm: int) -> JudgingImages:
        """The search pictures, and training pictures for BatchNorm, as `pocketnas run` takes them."""
        images = self.train.normalised(torch.arange(batchnorm))
        return JudgingImages(images, self.search.normalised(), self.search.labels)


def pictures(work: Path, source: Source, train: int, search: int, test: int) -> Pictures:
    """So many of each kind; decoded once into `work`.

    CIFAR-10's test pictures are of its test file, and labels lie shuffled in both files, so the first are as good as
    any. Hand signs go by the number of the photograph: people were photographed one after another, so those of
    the test pictures are others.
    """
    if source == "cifar10":
        images, labels = _decoded(work, "train", _cifar10("train"))
        test_images, test_labels = _decoded(work, "test", _cifar10("test"))
    else:
        images, labels = _decoded(work, "signs", _signs())
        test_images, test_labels = images[train + search :], labels[train + search :]
    shuffled = np.random.default_rng(20).permutation(train + search) if source == "signs" else np.arange(train + search)

    def part(images: NDArray[np.uint8], labels: NDArray[np.int64], places: NDArray[np.intp]) -> TrainingData:
        about = CATALOGUE[START]
        return TrainingData(torch.from_numpy(images[places]), torch.from_numpy(labels[places]), about.mean, about.std)

    return Pictures(
        part(images, labels, shuffled[:train]),
        part(images, labels, shuffled[train:]),
        part(test_images, test_labels, np.arange(test)),
        CLASSES[source],
    )


def _cifar10(name: str) -> Iterator[tuple[bytes, int]]:
    """Encoded pictures and labels."""
    import pyarrow.parquet as pq

    rows = pq.read_table(common.SHARED / f"cifar10_{name}.parquet").slice(0, _MOST)
    for cell, label in zip(rows["image"].to_pylist(), rows["label"].to_pylist(), strict=True):
        yield cell["bytes"], label


def _signs() -> Iterator[tuple[bytes, int]]:
    """Encoded pictures and labels, in the order of the photographs' numbers."""
    with zipfile.ZipFile(common.SHARED / "sign_digits_imagefolder.zip") as packed:
        files = [PurePosixPath(name) for name in packed.namelist() if name.lower().endswith(".jpg")]
        for file in sorted(files, key=lambda file: (file.name, file.parent.name)):
            yield packed.read(str(file)), int(file.parent.name)


def _decoded(
    work: Path, name: str, encoded: Iterator[tuple[bytes, int]]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures resized as preparing a run's images does, (n, 64, 64, 3), and labels, (n,)."""
    file = work / f"{name}-{PIXELS}px.npz"
    if not file.is_file():
        from PIL import Image

        images, labels = [], []
        for content, label in encoded:
            picture = Image.open(io.BytesIO(content)).convert("RGB")
            images.append(np.asarray(picture.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)))
            labels.append(label)
        work.mkdir(parents=True, exist_ok=True)
        np.savez(file, images=np.stack(images), labels=np.array(labels, dtype=np.int64))
    with np.load(file) as kept:
        return kept["images"], kept["labels"]
