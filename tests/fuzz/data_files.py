"""Kinds of files that images come in: pictures of several formats, Parquet, tables of labels."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.runs.begin import create_or_open
from pipeline.runs.config_file import read_config
from tests.fuzz.kind import Kind

_PER_CLASS = 20


def write_config(folder: Path) -> Path:
    """The configuration of a run on the pictures in `folder`/photos."""
    path = folder / "config.toml"
    path.write_text('[data]\npath = "photos"\n[space]\nname = "quickstart"\n')
    return path


def _pictures(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        pixels = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
        for label in ("cat", "dog"):
            (folder / "photos" / label).mkdir(parents=True)
            for number in range(_PER_CLASS):
                Image.fromarray(np.roll(pixels, number, 0)).save(folder / "photos" / label / f"{number}.{suffix}")
        write_config(folder)
        return folder / "photos" / "cat" / f"7.{suffix}"

    return make


def _prepare(path: Path) -> list[str]:
    folder = next(parent for parent in path.parents if (parent / "config.toml").exists())
    shutil.rmtree(folder / "run", ignore_errors=True)
    with create_or_open(folder / "run", read_config(folder / "config.toml")):
        pass
    return ["stage", "data", str(folder / "run"), "--json"]


def _parquet(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _pictures("png")(folder)
    rows = [
        {"image": {"bytes": file.read_bytes(), "path": file.name}, "label": number % 2}
        for number, file in enumerate(sorted((folder / "photos").rglob("*.png")))
    ]
    shutil.rmtree(folder / "photos")
    (folder / "photos" / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "photos" / "data" / "all.parquet")
    return folder / "photos" / "data" / "all.parquet"


def _labels(suffix: str) -> Callable[[Path], Path]:
    """Pictures in one folder, with a table of their labels beside them."""

    def make(folder: Path) -> Path:
        _pictures("png")(folder)
        photos = folder / "photos"
        rows = []
        for label in ("cat", "dog"):
            for file in sorted((photos / label).iterdir()):
                file.rename(photos / f"{label}{file.name}")
                rows.append((f"{label}{file.name}", label))
            (photos / label).rmdir()
        path = photos / f"metadata.{suffix}"
        if suffix == "csv":
            path.write_text("\n".join(["file_name,label", *(",".join(row) for row in rows)]) + "\n")
        else:
            path.write_text("".join(f'{{"file_name": "{name}", "label": "{label}"}}\n' for name, label in rows))
        return path

    return make


def _kind(suffix: str) -> Kind:
    return Kind(suffix, "binary", _pictures(suffix), _prepare)


KINDS = [
    *map(_kind, ("png", "jpg", "tiff", "webp", "gif", "bmp")),
    Kind("parquet", "binary", _parquet, _prepare),
    Kind("metadata.csv", "text", _labels("csv"), _prepare),
    Kind("metadata.jsonl", "text", _labels("jsonl"), _prepare),
]
