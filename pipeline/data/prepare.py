"""Decode a source once into arrays that training reads from the disk without decoding again."""

import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency_tables.files import write_json
from pipeline.data.sources import DataError, Item, Source
from pipeline.data.splits import split_items

Progress = Callable[[int, int, str], None]
SPLITS = ("train", "search", "test")


@dataclass(frozen=True, slots=True)
class Images:
    """One split: uint8 pixels (n, size, size, 3), memory-mapped, and int64 labels (n,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Prepared images: three splits, class names, and the training pixels' mean and deviation per channel (0..1)."""

    train: Images
    search: Images
    test: Images
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def divide(
    source: Source, search_fraction: float, test_fraction: float, seed: int, limit: int | None
) -> dict[str, list[Item]]:
    """The items of each split; a test split that the source brings is kept as it is.

    `limit` caps each split, class by class, for quick looks at large data.
    """
    if source.test_items:
        _refuse_shared_groups(source)
        train, search = split_items(source.items, [search_fraction], seed, source.classes)
        test = list(source.test_items)
    else:
        train, search, test = split_items(source.items, [search_fraction, test_fraction], seed, source.classes)
    parts = dict(zip(SPLITS, (train, search, test), strict=True))
    if limit is None:
        return parts
    if limit < len(source.classes):
        raise DataError(f"[data] limit = {limit} is below the {len(source.classes)} classes; each needs an image")
    return {name: _limited(items, limit, seed, len(source.classes)) for name, items in parts.items()}


def prepare(
    parts: dict[str, list[Item]], classes: Sequence[str], size: int, folder: Path, progress: Progress | None
) -> dict[str, Any]:
    """Decode every item to `size` x `size` (centre crop) into `folder`; returns a summary in plain values.

    Raises DataError naming an image that cannot be read; nothing is then left in `folder` under its final name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    total, done = sum(map(len, parts.values())), 0
    sums = np.zeros((2, 3))
    for name, items in parts.items():
        with _new_array(folder / f"{name}.npy", (len(items), size, size, 3)) as pixels:
            for index, image in enumerate(_decoded(items, size)):
                pixels[index] = image
                if name == "train":
                    scaled = image.reshape(-1, 3) / 255.0
                    sums += np.stack([scaled.mean(axis=0), (scaled**2).mean(axis=0)])
                done += 1
                if progress and (done % 64 == 0 or done == total):
                    progress(done, total, "reading images")
        np.save(folder / f"{name}_labels.npy", np.array([item.label for item in items], np.int64))
    mean, square = sums / max(1, len(parts["train"]))
    std = np.sqrt(np.maximum(square - mean**2, 1e-6))
    summary = {
        "schema_version": 1,
        "classes": list(classes),
        "size_px": size,
        "mean": [round(float(value), 6) for value in mean],
        "std": [round(float(value), 6) for value in std],
        "images": {name: len(items) for name, items in parts.items()},
        "groups": {name: len({item.group for item in items}) for name, items in parts.items()},
    }
    write_json(folder / "data.json", summary)
    return summary


def load_dataset(folder: Path) -> Dataset:
    """The images that `prepare` left in `folder`, memory-mapped."""

    def images(name: str) -> Images:
        pixels = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return Images(pixels, np.load(folder / f"{name}_labels.npy", allow_pickle=False))

    try:
        summary = json.loads((folder / "data.json").read_text())
        train, search, test = map(images, SPLITS)
        classes, mean, std = (tuple(summary[key]) for key in ("classes", "mean", "std"))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"prepared images in {folder} are torn ({error}); 'pocketnas stage data {folder.parent} --again' reads anew"
        ) from None
    return Dataset(train, search, test, classes, mean, std)


@contextmanager
def _new_array(path: Path, shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    """A uint8 array in a file that has its final name only once it is whole."""
    unfinished = path.with_name(f".{path.name}")
    try:
        pixels = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
        with unfinished.open("r+b") as stream:
            # A full disk is then an error here and now; found out by writing to the map, it would be a crash.
            os.posix_fallocate(stream.fileno(), 0, unfinished.stat().st_size)
        yield pixels
        pixels.flush()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _decoded(items: Sequence[Item], size: int) -> Iterator[NDArray[np.uint8]]:
    """The pixels of every item in order, a bounded number of them decoded ahead by all cores."""
    ahead = 64
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(items), ahead):
            yield from pool.map(lambda item: _decode(item, size), items[start : start + ahead])


def _decode(item: Item, size: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    image = item.open()
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


def _refuse_shared_groups(source: Source) -> None:
    """A group in training images and in the test split that the data brings would leak."""
    if shared := sorted({i.group for i in source.items} & {i.group for i in source.test_items}):
        raise DataError(
            f"group {shared[0]!r} ([data] group) is in the training images and in the data's own test split,"
            f" as are {len(shared) - 1} others; mend the split or leave [data] group out"
        )


def _limited(items: list[Item], limit: int, seed: int, classes: int) -> list[Item]:
    """At most `limit` items, the same number of each class where there are enough."""
    order = list(items)
    random.Random(seed).shuffle(order)
    taken: dict[int, int] = {}
    quota = -(-limit // classes)
    kept: list[Item] = []
    for item in order:
        if taken.get(item.label, 0) < quota and len(kept) < limit:
            taken[item.label] = taken.get(item.label, 0) + 1
            kept.append(item)
    return sorted(kept, key=lambda item: item.name)
