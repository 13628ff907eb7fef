"""Where labelled images come from: class folders, Parquet files, a hub name, or the embedded digits.

A source only lists items; pixels are read later, one image at a time, so a broken file can be named.
"""

import glob
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from PIL import Image

DIGITS = "digits"
_IMAGES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class DataError(PipelineError):
    """Images or labels that cannot be used; the message names the file, class or column."""


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled image. `open` decodes it, upright (EXIF); `group` names what must stay on one side."""

    name: str
    label: int
    group: str
    open: Callable[[], "Image.Image"]


@dataclass(frozen=True, slots=True)
class Source:
    """Labelled images: those to split, those of a test split that the data brings (or none), and the classes."""

    items: tuple[Item, ...]
    test_items: tuple[Item, ...]
    classes: tuple[str, ...]


def open_source(path: str, group: str | None, image_column: str, label_column: str) -> Source:
    """The images at `path`: a folder of class folders, Parquet (a file or a folder of them), a hub name, `digits`.

    `group` is a column's name, or a regular expression whose first group in the file name names the group.
    Raises DataError where there is nothing there, or nothing usable.
    """
    if path == DIGITS:
        return _digits()
    place = Path(path)
    if place.is_dir() and not any(place.rglob("*.parquet")):
        _require_images(place)
        # `datasets` takes paths for glob patterns.
        return _from_datasets("imagefolder", {"data_dir": _pattern(place)}, path, group, "image", "label")
    if place.exists():
        files = sorted(place.rglob("*.parquet")) if place.is_dir() else [place]
        if place.is_file() and place.suffix != ".parquet":
            raise DataError(f"[data] path {path!r} is a {place.suffix or 'plain'} file; {_ACCEPTED}")
        _require_parquet(files)
        return _from_datasets("parquet", _parquet_splits(files), path, group, image_column, label_column)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", path) and not path.startswith("."):
        _require_on_hub(path)
        return _from_datasets(path, {}, path, group, image_column, label_column)
    raise DataError(f"[data] path {path!r} does not exist; {_ACCEPTED}")


_ACCEPTED = "accepted are a folder of class folders, Parquet files, an 'owner/name' of the hub, or 'digits'"


def _require_images(folder: Path) -> None:
    if not any(file.suffix.lower() in _IMAGES for file in folder.rglob("*")):
        raise DataError(f"[data] path {str(folder)!r} holds no images in class folders, and no Parquet files")


def _require_parquet(files: Sequence[Path]) -> None:
    """Refuse a torn or foreign file by its name, which `datasets` would not tell."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    for file in files:
        try:
            ParquetFile(file).close()
        except (pyarrow.ArrowException, OSError):
            raise DataError(f"[data] {file} is torn, or is no Parquet file") from None


def _require_on_hub(name: str) -> None:
    """Ask the hub once, briefly: `datasets` would try for over a minute, and a mistyped folder looks like a name.

    What is in the cache needs no hub.
    """
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    owner = name.split("/")[0]
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    if cache.is_dir() and any(entry.name.lower().startswith(f"{owner.lower()}___") for entry in cache.iterdir()):
        return
    try:
        HfApi().dataset_info(name, timeout=10)
    except Exception as error:  # the hub's errors and those of the connection share no base class
        absent = isinstance(error, HfHubHTTPError)
        why = (
            "the hub has no such data set, or not for you"
            if absent
            else f"the hub cannot be asked ({_first_line(error)})"
        )
        beside = f"; the folder {owner!r} is here, but not that in it" if Path(owner).is_dir() else ""
        raise DataError(f"[data] path {name!r} is no folder or file here, and {why}{beside}; {_ACCEPTED}") from None


def _pattern(place: Path) -> str:
    """A path as `datasets` wants it, which takes it for a glob pattern."""
    return glob.escape(str(place.resolve()))


def _parquet_splits(files: Sequence[Path]) -> dict[str, Any]:
    """Files by split, told by their names (`train-00000.parquet`, `cifar10_test.parquet`)."""
    test = [_pattern(f) for f in files if re.search(r"(^|[^a-z])(test|validation|valid|val)([^a-z]|$)", f.stem)]
    train = [_pattern(f) for f in files if _pattern(f) not in test]
    if not train:
        train, test = test, []
    return {"data_files": {"train": train, **({"test": test} if test else {})}}


def _from_datasets(
    builder: str, arguments: dict[str, Any], path: str, group: str | None, image_column: str, label_column: str
) -> Source:
    """Read through Hugging Face `datasets`, leaving the images undecoded."""
    import datasets
    from datasets.utils.logging import disable_progress_bar, set_verbosity_error

    set_verbosity_error()
    disable_progress_bar()
    try:
        loaded = datasets.load_dataset(builder, **arguments)
    except Exception as error:  # datasets raises whatever its back ends raise
        raise DataError(f"[data] path {path!r} could not be read: {_first_line(error.__cause__ or error)}") from error
    splits = dict(loaded)
    train_name = "train" if "train" in splits else next(iter(splits))
    test_name = next((name for name in ("test", "validation") if name in splits and name != train_name), None)
    features = splits[train_name].features
    for column in (image_column, label_column):
        if column not in features and builder == "imagefolder":
            raise DataError(f"{path!r} needs two or more class folders with all images inside: {path}/<class>/<image>")
        if column not in features:
            raise DataError(f"{path!r} has no column {column!r}; it has {', '.join(features)} ([data] *_column)")
    if not features or label_column not in features:
        raise DataError(f"{path!r} has no labels")
    classes = _classes(splits[train_name], label_column)
    if len(classes) < 2:
        raise DataError(f"{path!r} has one class only, {', '.join(classes)!r}; at least two are needed")
    reader = _Reader(path, classes, group, image_column, label_column)
    items = reader.items(splits[train_name])
    return Source(items, reader.items(splits[test_name], "test ") if test_name else (), classes)


def _classes(split: Any, label_column: str) -> tuple[str, ...]:
    feature = split.features[label_column]
    if hasattr(feature, "names"):
        return tuple(feature.names)
    values = set(split[label_column])
    if not all(isinstance(value, (str, int)) for value in values):
        raise DataError(f"column {label_column!r} has labels that are neither numbers nor text, or are missing")
    return tuple(str(value) for value in sorted(values))


@dataclass(frozen=True, slots=True)
class _Reader:
    path: str
    classes: tuple[str, ...]
    group: str | None
    image_column: str
    label_column: str

    def items(self, split: Any, side: str = "") -> tuple[Item, ...]:
        """Every image of `split`; without a group each is one of its own, on its `side`."""
        import datasets

        if not isinstance(split.features[self.image_column], datasets.Image):
            split = split.cast_column(self.image_column, datasets.Image())
        images = split.cast_column(self.image_column, datasets.Image(decode=False))
        labels = split[self.label_column]
        named = hasattr(split.features[self.label_column], "names")
        numbers = {index if named else name: index for index, name in enumerate(self.classes)}
        by_column = self.group if self.group in split.features else None
        groups = split[by_column] if by_column else [None] * len(split)
        found = []
        for index, (label, column_value) in enumerate(zip(labels, groups, strict=True)):
            image = images[index][self.image_column]
            if image is None:
                raise DataError(f"{self.path} row {index} has no image")
            name = str(image.get("path") or f"{self.path} row {index}")
            member = str(column_value) if by_column else self._group_of(name, f"{side}{index}")
            number = numbers.get(label if named else str(label))
            if number is None:
                raise DataError(f"image {name!r} has label {label!r}, which no training image has")
            found.append(Item(name, number, member, _opener(name, image)))
        return tuple(found)

    def _group_of(self, name: str, own: str) -> str:
        if self.group is None:
            return own
        try:
            match = re.search(self.group, Path(name).name)
        except re.error as error:
            raise DataError(f"[data] group {self.group!r} is neither a column nor a pattern: {error}") from None
        if match is None:
            raise DataError(f"[data] group {self.group!r} does not match the file name {Path(name).name!r}")
        return match[1] if match.groups() else match[0]


def _opener(name: str, image: dict[str, Any]) -> Callable[[], "Image.Image"]:
    def decode() -> "Image.Image":
        from PIL import Image, ImageOps

        content = image["bytes"] if image.get("bytes") else image["path"]
        if content is None:
            raise DataError(f"image {name!r} has neither bytes nor a path")
        try:
            with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as opened:
                return _rgb(ImageOps.exif_transpose(opened))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"image {name!r} cannot be read: {_first_line(error)}") from None

    return decode


def _rgb(image: "Image.Image") -> "Image.Image":
    """Eight bits a channel. Sixteen-bit greys are scaled; Pillow's own conversion would clip them to white."""
    import numpy as np
    from PIL import Image

    if image.mode == "F":
        raise ValueError("it has floating-point pixels; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)
        image = Image.fromarray((grey // 257 if grey.max() > 255 else grey).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def _digits() -> Source:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    bundle = load_digits()
    pixels = (bundle.images * (255 / 16)).round().astype(np.uint8)

    def opener(index: int) -> Callable[[], Image.Image]:
        return lambda: Image.fromarray(pixels[index]).convert("RGB")

    items = tuple(
        Item(f"digits row {index}", int(label), str(index), opener(index)) for index, label in enumerate(bundle.target)
    )
    return Source(items, (), tuple(str(digit) for digit in range(10)))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
