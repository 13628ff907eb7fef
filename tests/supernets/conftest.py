"""A space and images so small that training steps take milliseconds."""

from dataclasses import replace

import pytest
import torch

from pipeline.spaces.architecture import SKIP, Op
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import Head, Stage, Stem
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.data import TrainingData


@pytest.fixture(scope="session")
def tiny_space() -> SearchSpace:
    """Every kind of choice: skip, kernels 3 to 7, ratios, depths, widths, resolutions, squeeze-and-excitation."""
    ops = tuple(Op(k, e) for k in (3, 5, 7) for e in (1, 2, 3))
    stages = (
        Stage((8, 16), (1, 2), ((SKIP, *ops), ops), 2, "relu", "input/4"),
        Stage((16, 24), (1, 2, 3), (tuple(op for op in ops if op.expand > 1), ops, ops), 2, "hswish", "mid/4"),
    )
    return SearchSpace("tiny", 4, (12, 16), Stem(8, stride=1), stages, Head(32, 24))


@pytest.fixture(scope="session")
def squeezed_space(tiny_space: SearchSpace) -> SearchSpace:
    """The same, squeeze-and-excitation being a choice of each layer of the first stage, with its ratio."""
    ops = tuple(Op(k, e, s) for k in (3, 5) for e in (1, 3) for s in (0, 0.25, 0.5))
    stage = replace(tiny_space.stages[0], widths=(8, 32), slots=((SKIP, *ops), ops), squeeze="none")
    return replace(tiny_space.with_stage(0, stage), name="squeezed")


@pytest.fixture(scope="session")
def tiny_data() -> TrainingData:
    """64 images of 4 classes that a network can tell apart: each class has its own bright quarter."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    images = torch.randint(0, 100, (64, 16, 16, 3), generator=generator, dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        row, column = divmod(label, 2)
        image[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] += 120
    return TrainingData(images, labels, (0.4, 0.4, 0.4), (0.25, 0.25, 0.25), Augmentation(flip=False))
