"""Data sets of the Hugging Face hub, by `datasets`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.data.errors import DataError, some
from pipeline.data.items import Content, LeftOut, Source
from pipeline.data.names import Split, accepted_splits, split_of
from pipeline.data.parquet_images import image_content
from pipeline.data.rows import Columns, Rows, source_of_rows
from pipeline.errors import first_line


def hub_source(name: str, columns: Columns, accepted: str) -> Source:
    """The data set `owner/name`. Raises DataError where the hub has none, or its columns or splits are of no use."""
    import datasets
    from datasets.utils.logging import disable_progress_bar, set_verbosity_error

    _require(name, accepted)
    set_verbosity_error()
    disable_progress_bar()
    try:
        loaded = dict(datasets.load_dataset(name))
    except Exception as error:  # datasets raises whatever its back ends raise
        raise DataError(f"[data] path {name!r} could not be read: {first_line(error.__cause__ or error)}") from error
    splits, left_out = _splits(name, loaded)
    features = splits["train"].features
    for column in (columns.image, columns.label):
        if column not in features:
            raise DataError(f"{name!r} has no column {column!r}; it has {some(list(features))} ([data] *_column)")
    feature = features[columns.image]
    if not (isinstance(feature, datasets.Image) or str(getattr(feature, "dtype", "")) in ("binary", "string")):
        raise DataError(f"{name!r}: column {columns.image!r} holds {feature}, which are no pictures")
    names = getattr(features[columns.label], "names", None)
    rows = {split: _rows(name, split, of, columns) for split, of in splits.items()}
    return source_of_rows(f"{name!r}", rows, names, columns, left_out)


def _splits(name: str, loaded: dict[Any, Any]) -> tuple[dict[Split, Any], list[LeftOut]]:
    """The splits that names tell, and the rows of others."""
    if len(loaded) == 1:
        return {"train": next(iter(loaded.values()))}, []
    found: dict[Split, Any] = {}
    left_out = []
    for key, rows in loaded.items():
        split = split_of(str(key))
        if split is None or split in found:
            reason = f"in the split {str(key)!r}, which is none of {accepted_splits()}"
            left_out += [LeftOut(f"{key} row {row}", reason) for row in range(len(rows))]
        else:
            found[split] = rows
    if "train" not in found:
        raise DataError(f"{name!r} has no training split; it has {some([str(key) for key in loaded])}")
    return found, left_out


def _rows(name: str, split: Split, table: Any, columns: Columns) -> Rows:
    import datasets

    feature = table.features[columns.image]
    images = (
        table.cast_column(columns.image, datasets.Image(decode=False)) if isinstance(feature, datasets.Image) else table
    ).select_columns([columns.image])
    caches = [Path(datasets.config.HF_DATASETS_CACHE), _hub_cache()]

    def content(row: int) -> Content:
        value = images[row][columns.image]
        path = value.get("path") if isinstance(value, dict) and not value.get("bytes") else None
        cache = next((c for c in caches if path and Path(path).is_relative_to(c)), caches[0])
        return image_content(value, cache, cache)

    by_column = columns.group if columns.group in table.features else None
    width = len(str(len(table)))
    naming: Callable[[int], str] = lambda row: f"{name} {split} row {row:0{width}}"  # noqa: E731
    return Rows(
        naming,
        table[columns.label][:],
        _file_names(images, columns.image),
        table[by_column][:] if by_column else None,
        content,
    )


def _file_names(images: Any, column: str) -> list[str | None]:
    """The path beside every image, read without the bytes."""
    from pyarrow import compute, types

    values = images.data.column(column)
    if types.is_struct(values.type) and values.type.get_field_index("path") >= 0:
        return list(compute.struct_field(values.combine_chunks(), "path").to_pylist())
    return values.to_pylist() if types.is_string(values.type) else [None] * len(images)


def _require(name: str, accepted: str) -> None:
    """Ask the hub once, briefly: `datasets` would try for over a minute, and a mistyped folder looks like a name.

    What is in the cache needs no hub.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if _is_cached(name):
        return
    try:
        HfApi().dataset_info(name, timeout=10)
    except Exception as error:  # the hub's errors and those of the connection share no base class
        absent = isinstance(error, HfHubHTTPError)
        why = (
            "the hub has no such data set, or not for you"
            if absent
            else f"the hub cannot be asked ({first_line(error)})"
        )
        owner = name.split("/")[0]
        beside = f"; the folder {owner!r} is here, but not that in it" if Path(owner).is_dir() else ""
        raise DataError(f"[data] path {name!r} is no folder or file here, and {why}{beside}; {accepted}") from None


def _is_cached(name: str) -> bool:
    """Whether `datasets` or the hub's client has kept this very data set."""
    import datasets
    from datasets.naming import camelcase_to_snakecase

    owner, own = name.split("/")
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    kept = {f"{owner}___{own}".lower(), f"{owner}___{camelcase_to_snakecase(own)}".lower()}
    if cache.is_dir() and any(entry.name.lower() in kept for entry in cache.iterdir()):
        return True
    return (_hub_cache() / f"datasets--{owner}--{own}").is_dir()


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)
