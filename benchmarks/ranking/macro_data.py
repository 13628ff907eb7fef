"""CIFAR-10 and the truth of NAS-Bench-Macro, as the ranking experiments use them."""

import io
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import common
from pipeline.fewshot.prefix import JudgingImages
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.files import load_space
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.data import TrainingData

SPACE = load_space("nas-bench-macro")
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
HELD_OUT = 5_000  # training images that judge; nothing trains on them, and the test images stay unread
TEST_SEED, LABEL_SEED = 2024, 7  # which networks are ranked, and which are labelled for the ranker


@dataclass(frozen=True)
class Truth:
    """The 3,969 distinct networks with their mean test accuracy (%) of three trainings."""

    archs: tuple[Architecture, ...]
    accuracy: NDArray[np.float64]


def read_truth() -> Truth:
    """Every distinct network once."""
    rows = common.read_rows(common.SHARED / "nas_bench_macro_cifar10.csv.gz")
    found = {common.macro_architecture(SPACE, row["arch"]): float(row["mean_acc"]) for row in rows}
    return Truth(tuple(found), np.array(list(found.values())))


def drawn(truth: Truth, ranked: int, labelled: int) -> tuple[list[Architecture], list[Architecture]]:
    """The networks that every variant ranks, and others that are labelled; uniform over the distinct ones."""
    archs = sorted(truth.archs, key=str)
    tested = random.Random(TEST_SEED).sample(archs, ranked)
    rest = sorted(set(archs) - set(tested), key=str)
    return tested, random.Random(LABEL_SEED).sample(rest, labelled)


def pixels(work: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """CIFAR-10's training images (50000, 32, 32, 3) and labels, decoded once into `work`."""
    images, labels = work / "images.npy", work / "labels.npy"
    if not labels.is_file():
        import pyarrow.parquet as pq
        from PIL import Image

        table = pq.read_table(common.SHARED / "cifar10_train.parquet")
        files = (io.BytesIO(cell["bytes"]) for cell in table["image"].to_pylist())
        decoded = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        work.mkdir(parents=True, exist_ok=True)
        np.save(images, np.stack(decoded))
        np.save(labels, np.array(table["label"].to_pylist(), dtype=np.int64))
    return np.load(images, mmap_mode="r"), np.load(labels)


@dataclass(frozen=True)
class OnDevice(TrainingData):
    """Training data whose batches arrive on `device`."""

    device: str = "cpu"

    def training_batch(
        self, indices: torch.Tensor, generator: torch.Generator, part: slice = slice(None)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As TrainingData, moved to the device."""
        images, labels = super().training_batch(indices, generator, part)
        return images.to(self.device), labels.to(self.device)


def training_data(work: Path, device: str) -> OnDevice:
    """The 45,000 images that supernets train on."""
    images, labels = pixels(work)
    # Labels lie shuffled in the file, so the first are as good as any.
    return OnDevice(images[HELD_OUT:], torch.from_numpy(labels[HELD_OUT:]), MEAN, STD, Augmentation(), device=device)


def judging_images(work: Path, device: str, bn: int, n: int) -> JudgingImages:
    """`bn` training images for BatchNorm and `n` held-out images with labels."""
    images, labels = pixels(work)
    data = TrainingData(images[: HELD_OUT + bn], torch.from_numpy(labels[: HELD_OUT + bn]), MEAN, STD)
    held, train = torch.arange(n), torch.arange(HELD_OUT, HELD_OUT + bn)
    return JudgingImages(
        data.normalised(train).to(device), data.normalised(held).to(device), data.labels[held].to(device)
    )


def write(path: Path, document: object) -> None:
    """JSON, whole or not at all."""
    from latency_tables.files import write_json

    write_json(path, json.loads(json.dumps(document)))
