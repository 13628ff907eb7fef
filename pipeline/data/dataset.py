"""Prepared images on disk, as training and judging read them."""

import json
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from latency_tables.documents import read_model
from latency_tables.files import read_bounded
from pipeline.data.encoded import EncodedPictures
from pipeline.data.errors import DataError
from pipeline.data.names import SPLITS, TEST_NAMES
from pipeline.errors import first_line

Positive = Annotated[float, Field(gt=0)]
# All that NumPy raises for a damaged header or a short file, beside OSError and ValueError.
_UNREADABLE: Final = (
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
)


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


class _Summary(BaseModel):
    """What `prepare` wrote of the images: the keys of `data.json` that reading them takes."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    mean: tuple[float, float, float]
    std: tuple[Positive, Positive, Positive]
    size_px: Annotated[int, Field(ge=1)]
    depth: Annotated[int, Field(ge=8, le=16)] | None = None
    encoded: bool = False
    seen_px: Annotated[int, Field(ge=1)] | None = None  # runs of 0.1 kept no more than `size_px`


def load_dataset(folder: Path) -> Dataset:
    """The images that `prepare` left in `folder`, memory-mapped, or those that `prepare_encoded` listed there.

    Raises DataError where they are corrupt or foreign.
    """
    try:
        about = read_model(folder / "data.json", _Summary, DataError)
        train, search, test = (_images(folder, name, about) for name in SPLITS)
        names = _names(folder / TEST_NAMES)
    except (OSError, ValueError, *_UNREADABLE) as error:
        raise DataError(
            f"prepared images in {folder} are corrupt ({first_line(error)});"
            f" 'pocketnas stage data {folder.parent} --again' reads anew"
        ) from None
    seen_px = about.seen_px or about.size_px
    return Dataset(train, search, test, about.classes, about.mean, about.std, seen_px, about.depth, names)


def _names(file: Path) -> tuple[str, ...]:
    return tuple(map(str, json.loads(read_bounded(file, DataError)))) if file.exists() else ()


def _images(folder: Path, name: str, about: _Summary) -> Images:
    pixels: NDArray[np.uint8] | EncodedPictures
    if about.encoded:
        pixels = EncodedPictures(folder / f"{name}.arrow", about.size_px, about.depth)
    else:
        stored = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        if stored.dtype != np.uint8 or stored.ndim != 4 or stored.shape[3] != 3:
            raise DataError(f"{name}.npy holds {stored.dtype} {stored.shape}, not uint8 (n, size, size, 3)")
        pixels = stored
    labels = np.load(folder / f"{name}_labels.npy", mmap_mode="r", allow_pickle=False)
    if labels.dtype != np.int64 or labels.shape != (len(pixels),):
        raise DataError(f"{name}_labels.npy holds {labels.dtype} {labels.shape} for {len(pixels)} images")
    most = len(about.classes) - 1
    if len(labels) and not 0 <= labels.min() <= labels.max() <= most:
        raise DataError(f"{name}_labels.npy reaches from {labels.min()} to {labels.max()}; classes are 0 to {most}")
    return Images(pixels, np.array(labels))
