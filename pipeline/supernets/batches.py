"""The images of each step of a training, as a function of the seed and the number of the step alone."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.supernets.data import TrainingData
from pipeline.supernets.loading import ahead

Answers = Sequence[tuple[Tensor, float]]  # labels (n,) and their weights, which add up to 1
Batch = tuple[Tensor, Answers]  # normalised images (n, 3, h, w), and what they show


@dataclass(frozen=True)
class Batches:
    """The batch of every step; an epoch is a permutation of its own. Whichever process asks gets the same.

    `part` is what this process takes of each batch, None where it takes all.
    """

    data: TrainingData
    size: int
    seed: int
    mixup: float = 0.0
    part: slice | None = None

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch; images that fill no batch are left out."""
        return len(self.data) // self.size

    def __call__(self, step: int) -> Batch:
        """The images of a step, augmented, on the CPU."""
        epoch, batch = divmod(step, self.per_epoch)
        order = torch.randperm(len(self.data), generator=self._generator(f"epoch {epoch}"))
        indices = order[batch * self.size : (batch + 1) * self.size]
        part = self.part or slice(0, self.size)
        images, labels = self._augmented(step, indices, part)
        if not self.mixup:
            return images, [(labels, 1.0)]
        # Blended with the same batch in reverse, of which this process takes what its own images meet.
        opposite = slice(self.size - part.stop, self.size - part.start)
        alone = self.part is None
        others, other_labels = (images, labels) if alone else self._augmented(step, indices, opposite)
        share_of_own = random.Random(f"{self.seed}/mixup {step}").betavariate(*[self.mixup] * 2)
        blended = others.flip(0).lerp_(images, share_of_own)
        return blended, [(labels, share_of_own), (other_labels.flip(0), 1 - share_of_own)]

    def kept(self, step: int, width: int, rate: float) -> Tensor:
        """Which of `width` values of each image of a step dropout at `rate` keeps: (n, width), true or false."""
        every = torch.rand(self.size, width, generator=self._generator(f"dropout {step}")) >= rate
        return every if self.part is None else every[self.part]

    def following(self, first: int, end: int) -> Iterator[Batch]:
        """The batches of the steps from `first` to before `end`, read ahead where images have to be decoded."""
        images = self.size if self.part is None else self.part.stop - self.part.start
        return ahead(self, range(first, end), self.data.workers(images))

    def _augmented(self, step: int, indices: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        return self.data.training_batch(indices, self._generator(f"augment {step}"), part)

    def _generator(self, purpose: str) -> torch.Generator:
        digest = hashlib.blake2b(f"{self.seed}/{purpose}".encode(), digest_size=7).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "big"))
