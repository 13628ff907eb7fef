"""Prepared images on disk, as training and judging read them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.encoded import EncodedPictures
from pipeline.data.errors import DataError
from pipeline.data.names import SPLITS, TEST_NAMES


@dataclass(frozen=True, slots=True)
class Images:
    """One split: uint8 pixels (n, size, size, 3), memory-mapped or decoded when read, and int64 labels (n,)."""

    pixels: NDArray[np.uint8] | EncodedPictures
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Prepared images: three splits, class names, and the training pixels' mean and deviation per channel (0..1).

    `seen_px`: the size of the middle that networks see, in stored pixels. Images are kept larger than the largest
    input where the pictures were, for the random shifts of training. `depth`: the bits that greys of more than eight
    were taken to have; None where there were none. `test_names`: what each test image is called; empty in older runs.
    """

    train: Images
    search: Images
    test: Images
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    seen_px: int
    depth: int | None = None
    test_names: tuple[str, ...] = ()

    @property
    def size_px(self) -> int:
        """Height and width of the stored pixels."""
        return int(self.test.pixels.shape[1])


def load_dataset(folder: Path) -> Dataset:
    """The images that `prepare` left in `folder`, memory-mapped, or those that `prepare_encoded` listed there."""

    def images(name: str) -> Images:
        pixels: NDArray[np.uint8] | EncodedPictures
        if summary.get("encoded"):
            pixels = EncodedPictures(folder / f"{name}.arrow", summary["size_px"], summary["depth"])
        else:
            pixels = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return Images(pixels, np.load(folder / f"{name}_labels.npy", allow_pickle=False))

    try:
        summary = json.loads((folder / "data.json").read_text())
        train, search, test = map(images, SPLITS)
        classes, mean, std = (tuple(summary[key]) for key in ("classes", "mean", "std"))
        seen_px = int(summary.get("seen_px", summary["size_px"]))  # runs of 0.1 kept no more than that
        depth, file = summary.get("depth"), folder / TEST_NAMES
        names = tuple(map(str, json.loads(file.read_text()))) if file.exists() else ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"prepared images in {folder} are torn ({error}); 'pocketnas stage data {folder.parent} --again' reads anew"
        ) from None
    return Dataset(train, search, test, classes, mean, std, seen_px, depth, names)
