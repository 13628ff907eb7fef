"""Images of one split of a run as networks take them."""

from typing import TYPE_CHECKING

from pipeline.data.dataset import Dataset, Images

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.supernets.data import TrainingData


def unchanged(images: Images, dataset: Dataset) -> "TrainingData":
    """The images of one split as networks take them, without augmentation."""
    import torch

    from pipeline.supernets.augment import Augmentation
    from pipeline.supernets.data import TrainingData

    labels = torch.from_numpy(images.labels)
    return TrainingData(images.pixels, labels, dataset.mean, dataset.std, Augmentation(), dataset.seen_px)


def some(images: Images, dataset: Dataset, limit: int, seed: int) -> "tuple[Tensor | TrainingData, Tensor]":
    """As `normalised`, (n, 3, size, size) and (n,), in a quarter of the memory where the images are arrays: they are
    then kept as bytes."""
    import numpy as np

    if not isinstance(images.pixels, np.ndarray):
        return normalised(images, dataset, limit, seed)
    data = unchanged(images, dataset).subset(_chosen(len(images), limit, seed))
    return data, data.labels


def normalised(images: Images, dataset: Dataset, limit: int | None, seed: int) -> "tuple[Tensor, Tensor]":
    """Float images (n, 3, size, size) of one split as networks take them, and labels (n,), all in memory.

    `limit` takes that many at random, always the same ones for a seed.
    """
    data, chosen = unchanged(images, dataset), _chosen(len(images), limit, seed)
    return data.normalised(chosen), data.labels[chosen]


def _chosen(count: int, limit: int | None, seed: int) -> "Tensor":
    import numpy as np
    import torch

    return torch.from_numpy(np.sort(np.random.default_rng(seed).permutation(count)[:limit]))
