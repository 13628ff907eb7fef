"""Labelled images in memory or mapped from a file, as a training loop takes them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.encoded import EncodedPictures
from pipeline.errors import PipelineError
from pipeline.supernets.augment import Augmentation, unit
from pipeline.supernets.loading import ahead, workers_for

Pixels = Tensor | NDArray[np.uint8] | EncodedPictures
_TOGETHER: Final = 64  # encoded images that one process reads at a time


@dataclass(frozen=True)
class TrainingData:
    """Images (n, h, w, 3) uint8 (a tensor, an array, a memory map or encoded pictures) and labels (n,) int64.

    `mean` and `std` are those of the three channels, of pixels in 0..1. `seen_px` is the size that networks see, in
    pixels of `images`: what is beyond it is for the random shifts and crops of training, and cut off otherwise.
    """

    images: Pixels
    labels: Tensor
    mean: Sequence[float]
    std: Sequence[float]
    augment: Augmentation = field(default_factory=Augmentation)
    seen_px: int | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[-1] != 3:
            raise PipelineError(f"images have shape {tuple(self.images.shape)}; needed is (n, height, width, 3)")
        if self.seen_px is not None and not 0 < self.seen_px <= min(self.images.shape[1:3]):
            raise PipelineError(f"networks cannot see {self.seen_px} pixels of images {tuple(self.images.shape)}")
        if len(self.images) != len(self.labels) or not len(self.labels):
            raise PipelineError(f"{len(self.images)} images with {len(self.labels)} labels; one each is needed")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """One more than the largest label."""
        return int(self.labels.max()) + 1

    def subset(self, indices: Tensor) -> "TrainingData":
        """The images at `indices` (m,), copied into memory."""
        return replace(self, images=self._take(indices), labels=self.labels[indices])

    def training_batch(
        self, indices: Tensor, generator: torch.Generator, part: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Augmented normalised images (m, 3, h, w) float32 in channels_last order, and labels (m,).

        Only those of `part` of the batch; what happens to an image does not depend on which part is taken.
        """
        draws = self.augment.draw(len(indices), generator)[part]
        chosen = indices[part]
        images = self.augment(self._take(chosen), draws, self.seen_px)
        return self._normalise(images), self.labels[chosen]

    def normalised(self, indices: Tensor | None = None) -> Tensor:
        """Images (m, 3, h, w) float32 in channels_last order without augmentation; all where no `indices`."""
        taken = torch.arange(len(self)) if indices is None else indices
        if isinstance(self.images, EncodedPictures) and len(taken) > _TOGETHER:
            return torch.cat([images for images, _ in self.batches(_TOGETHER, taken)])
        return self._normalise(unit(self._middle(self._take(taken))))

    def batches(self, size: int, indices: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (size, 3, h, w) in the order of `indices` (m,) (all by default), normalised, with their labels
        (size,)."""
        parts = torch.split(torch.arange(len(self)) if indices is None else indices, size)
        return ahead(_Parts(self, parts), range(len(parts)), self.workers(size))

    def workers(self, images: int) -> int:
        """How many processes read batches of so many images ahead: none where they need no decoding."""
        if not isinstance(self.images, EncodedPictures):
            return 0
        return workers_for(images * 12 * (self.seen_px or self.images.size) ** 2)

    def _take(self, indices: Tensor) -> Tensor:
        if isinstance(self.images, Tensor):
            return self.images[indices]
        return torch.from_numpy(np.ascontiguousarray(self.images[indices.numpy()]))

    def _middle(self, pixels: Tensor) -> Tensor:
        """What networks see of images (n, h, w, 3)."""
        if self.seen_px is None:
            return pixels
        top, left = ((size - self.seen_px) // 2 for size in pixels.shape[1:3])
        return pixels[:, top : top + self.seen_px, left : left + self.seen_px]

    def _normalise(self, images: Tensor) -> Tensor:
        """In place: whole splits pass through here, and each copy would be hundreds of megabytes."""
        mean = torch.tensor(self.mean, dtype=torch.float32).view(1, 3, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32).view(1, 3, 1, 1)
        return images.sub_(mean).div_(std)


@dataclass(frozen=True)
class _Parts:
    """The normalised images and the labels of each of some parts."""

    data: TrainingData
    parts: Sequence[Tensor]

    def __call__(self, number: int) -> tuple[Tensor, Tensor]:
        indices = self.parts[number]
        return self.data.normalised(indices), self.data.labels[indices]
