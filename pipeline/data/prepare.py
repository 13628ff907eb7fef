"""Decode a source once into arrays that training reads from the disk without decoding again."""

import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from latency_tables.files import write_json
from pipeline.data.division import Division
from pipeline.data.errors import DataError
from pipeline.data.items import Content, Item
from pipeline.data.names import SPLITS, TEST_NAMES, Split, printable
from pipeline.data.pictures import BIG_MEGAPIXELS, Deep, depth_of, shape, square
from pipeline.progress import Progress

Place = tuple[Split, int]
_AHEAD: Final = 64  # images decoded at the same time, at most
_LARGER: Final = 8 / 7  # 256 pixels kept for an input of 224
_TOLD: Final = 3
_SAMPLE: Final = 256  # pictures whose headers tell how large the pictures are


def stored_px(division: Division, seen_px: int) -> int:
    """How large images are kept: an eighth more than networks see where most pictures are that large."""
    items = [item for items in division.parts.values() for item in items]
    step = max(1, len(items) // _SAMPLE)
    sizes = [found for item in items[::step] if (found := _shape(item)) is not None]
    larger = round(seen_px * _LARGER)
    return larger if sizes and median(map(min, sizes)) >= larger else seen_px


def prepare(
    division: Division,
    size: int,
    folder: Path,
    progress: Progress | None = None,
    *,
    seen_px: int | None = None,
    skip_broken: bool = False,
) -> dict[str, Any]:
    """Decode every item to `size` x `size` (the middle) into `folder`; returns the summary in plain values.

    Networks see the middle `seen_px` of it (all of it by default). Raises DataError naming all images
    that cannot be read, unless `skip_broken` leaves them out; nothing is then left in `folder` under its final name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        arrays = {
            split: stack.enter_context(_scratch(folder / f".{split}.npy", (len(items), size, size, 3)))
            for split, items in division.parts.items()
        }
        work = Decoding(division, size, arrays, progress)
        work.run()
        work.require_readable(skip_broken)
        broken = work.broken_by_split()
        division = division.without(broken)
        for split, pixels in arrays.items():
            _keep(pixels, folder / f".{split}.npy", folder / f"{split}.npy", broken[split])
    return finish(division, size, folder, seen_px or size, work)


def finish(
    division: Division, size: int, folder: Path, seen_px: int, work: "Decoding", encoded: bool = False
) -> dict[str, Any]:
    """Write labels, names and, last, the summary of what `work` found; returns it in plain values."""
    for split, items in division.parts.items():
        np.save(folder / f"{split}_labels.npy", np.array([item.label for item in items], np.int64))
    write_json(folder / TEST_NAMES, [printable(item.name) for item in division.parts["test"]])
    summary = _summary(division, size, seen_px, work) | ({"encoded": True} if encoded else {})
    write_json(folder / "data.json", summary)
    return summary


def _summary(division: Division, size: int, seen_px: int, work: "Decoding") -> dict[str, Any]:
    mean, square_mean = work.sums / max(1, work.summed)
    std = np.sqrt(np.maximum(square_mean - mean**2, 1e-6))
    return {
        "schema_version": 1,
        "classes": list(division.classes),
        "size_px": size,
        "seen_px": seen_px,
        "depth": work.depth,
        "mean": [round(float(value), 6) for value in mean],
        "std": [round(float(value), 6) for value in std],
        "images": {split: len(items) for split, items in division.parts.items()},
        "groups": {split: len({item.group for item in items}) for split, items in division.parts.items()},
        "inventory": division.inventory.with_remarks(work.remarks()).document(),
    }


class Sink(Protocol):
    """Where decoded pictures of a split go."""

    def __setitem__(self, index: int, picture: NDArray[np.uint8]) -> None: ...


@dataclass(slots=True)
class Decoding:
    """All pictures into arrays or other sinks, in the order in which the source reads fastest.

    Pictures of more than eight bits wait for the end: only then is it known what scale they all share.
    """

    division: Division
    size: int
    arrays: Mapping[Split, Sink]
    progress: Progress | None
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((2, 3)))
    summed: int = 0
    broken: dict[Place, str] = field(default_factory=dict)
    depth: int | None = None
    _deep: dict[Place, int] = field(default_factory=dict)
    _done: int = 0

    def run(self) -> None:
        """Decode everything; what cannot be read is in `broken` then, with the reason."""
        places = [(split, index) for split, items in self.division.parts.items() for index in range(len(items))]
        places.sort(key=lambda place: self._item(place).name)
        # Pillow warns on stderr of pictures above its own limit; ours refuses them by name.
        with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            warnings.simplefilter("ignore")
            self._pass(places, pool, None)
            if self._deep:
                self.depth = depth_of(max(self._deep.values()))
                self._pass(list(self._deep), pool, self.depth)

    def require_readable(self, skip_broken: bool) -> None:
        """DataError naming what cannot be read, unless it is to be left out."""
        if self.broken and not skip_broken:
            raise DataError(_all_broken(self.division, self.broken))

    def broken_by_split(self) -> dict[Split, dict[int, str]]:
        """The place of each picture that cannot be read, with the reason."""
        return {split: {i: why for (of, i), why in self.broken.items() if of == split} for split in SPLITS}

    def remarks(self) -> list[str]:
        """What was done to pictures of more than eight bits."""
        if self.depth is None:
            return []
        return [
            f"{len(self._deep):,} picture(s) have more than 8 bits a channel; all are read as {self.depth}-bit ones"
            f" (largest value {max(self._deep.values()):,})"
        ]

    def _item(self, place: Place) -> Item:
        return self.division.parts[place[0]][place[1]]

    def _pass(self, places: Sequence[Place], pool: ThreadPoolExecutor, depth: int | None) -> None:
        for start in range(0, len(places), _AHEAD):
            batch = places[start : start + _AHEAD]
            contents = [self._content(place) for place in batch]
            waiting = [
                None if content is None or _is_big(content) else pool.submit(self._decode, place, content, depth)
                for place, content in zip(batch, contents, strict=True)
            ]
            for place, content, future in zip(batch, contents, waiting, strict=True):
                if future is not None:
                    self._take(place, future.result())
                elif content is not None:
                    # Here and not in the pool: two threads would hold two huge pictures, and keep their memory.
                    self._take(place, self._decode(place, content, depth))
                else:
                    self._take(place, None)

    def _content(self, place: Place) -> Content | None:
        try:
            return self._item(place).content()
        except DataError as error:
            self.broken[place] = f"image {self._item(place).name!r} cannot be read: {error}"
            return None

    def _decode(self, place: Place, content: Content, depth: int | None) -> NDArray[np.uint8] | Deep | None:
        try:
            return square(self._item(place).name, content, self.size, depth)
        except DataError as error:
            self.broken[place] = str(error)
            return None

    def _take(self, place: Place, picture: NDArray[np.uint8] | Deep | None) -> None:
        if isinstance(picture, Deep):
            self._deep[place] = picture.peak
            return
        if picture is not None:
            split, index = place
            self.arrays[split][index] = picture
            if split == "train":
                values = picture.reshape(-1, 3).astype(np.float64)  # whole numbers: sums of them are exact
                sums = np.stack([np.ones(len(values)) @ values, np.einsum("ij,ij->j", values, values)])
                self.sums += sums / len(values) / np.array([[255.0], [255.0**2]])
                self.summed += 1
        self._done += 1
        total = sum(map(len, self.division.parts.values()))
        if self.progress and (self._done % _AHEAD == 0 or self._done == total):
            self.progress(self._done, total, "reading images")


def _is_big(content: Content) -> bool:
    width, height = shape(content) or (0, 0)
    return width * height > BIG_MEGAPIXELS * 1_000_000


def _all_broken(division: Division, broken: Mapping[Place, str]) -> str:
    """Every picture that cannot be read: the first ones with their reasons, and how many there are."""
    reasons = [broken[place] for place in sorted(broken)]
    if len(reasons) == 1:
        return f"{reasons[0]}; [data] skip_broken = true leaves it out"
    more = f"; and {len(reasons) - _TOLD} more" if len(reasons) > _TOLD else ""
    total = sum(map(len, division.parts.values()))
    return (
        f"{len(reasons):,} of {total:,} images cannot be read ([data] skip_broken = true leaves them out): "
        + "; ".join(reasons[:_TOLD])
        + more
    )


def _shape(item: Item) -> tuple[int, int] | None:
    try:
        return shape(item.content())
    except DataError:
        return None


@contextmanager
def _scratch(path: Path, shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    """A uint8 array in a file that is gone afterwards, unless it was renamed."""
    try:
        pixels = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        with path.open("r+b") as stream:
            # A full disk is then an error here and now; found out by writing to the map, it would be a crash.
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        yield pixels
    finally:
        path.unlink(missing_ok=True)


def _keep(pixels: NDArray[np.uint8], scratch: Path, path: Path, broken: Collection[int]) -> None:
    """Give the array in `scratch` its final name, without the rows that are broken."""
    if not broken:
        cast(Any, pixels).flush()
        scratch.replace(path)
        return
    kept = [row for row in range(len(pixels)) if row not in broken]
    whole = path.with_name(f".kept-{path.name}")
    with _scratch(whole, (len(kept), *pixels.shape[1:])) as rows:
        for index, row in enumerate(kept):
            rows[index] = pixels[row]
        cast(Any, rows).flush()
        whole.replace(path)
