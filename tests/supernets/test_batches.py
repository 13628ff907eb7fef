"""The batches of a training: which images each step sees, and in which order."""

import torch

from pipeline.supernets.augment import Augmentation
from pipeline.supernets.batches import Batches
from pipeline.supernets.data import TrainingData

IMAGES, BATCH, PIXELS = 24, 4, 16
BRIGHTER = 8  # than the one before is each image, so that its first pixel tells which it is


def _batches(seed: int, augmentation: Augmentation) -> Batches:
    """Of images of one class that become brighter from the left to the right."""
    shades = torch.arange(IMAGES)[:, None, None, None] * BRIGHTER + torch.arange(PIXELS)[:, None] % BRIGHTER
    pixels = shades.expand(IMAGES, PIXELS, PIXELS, 3).to(torch.uint8).contiguous()
    labels = torch.zeros(IMAGES, dtype=torch.int64)
    return Batches(TrainingData(pixels, labels, (0.0,) * 3, (1.0,) * 3, augmentation), BATCH, seed)


def _epoch(batches: Batches, number: int) -> torch.Tensor:
    """All images of an epoch, as values from 0 to 255: (n, 3, PIXELS, PIXELS)."""
    first = number * batches.per_epoch
    return torch.cat([batches(step)[0] for step in range(first, first + batches.per_epoch)]) * 255


def _order(batches: Batches, epoch: int) -> list[int]:
    return [round(value) // BRIGHTER for value in _epoch(batches, epoch)[:, 0, 0, 0].tolist()]


def test_an_epoch_has_every_image_once_in_an_order_of_its_own() -> None:
    plain = Augmentation(shift=0.0, flip=False)
    first, second = (_order(_batches(0, plain), epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(IMAGES))
    assert first != second and first != sorted(first)
    assert _order(_batches(0, plain), 0) == first
    assert _order(_batches(1, plain), 0) != first


def test_an_image_is_augmented_anew_in_every_step() -> None:
    batches = _batches(0, Augmentation(shift=0.25, flip=False))
    left = [(_epoch(batches, number)[:, 0, 0, :] % BRIGHTER).round() for number in (0, 1)]
    moved = [
        tuple(rows.tolist()) for epoch in left for rows in torch.split(epoch, BATCH)
    ]  # of each step, whatever its images
    assert len(set(map(str, moved))) == len(moved)
