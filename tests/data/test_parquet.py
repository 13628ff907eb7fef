"""Parquet as people and the hub lay it out: splits by name, labels of every kind, and rows that are no pictures."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.division import divide
from pipeline.data.errors import DataError
from pipeline.data.items import Source
from pipeline.data.names import SPLITS
from pipeline.data.prepare import prepare
from pipeline.data.sources import open_source
from tests.data.trees import make_tree, picture


def _open(path: Path, group: str | None = None) -> Source:
    return open_source(str(path), group, "image", "label")


def _table(path: Path, labels: Any, names: Sequence[str] | None = None, **columns: Any) -> None:
    """A file with one picture a label; `names` declares a ClassLabel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": picture(f"{path}{row}"), "path": f"IMG_{row}.png"} for row in range(len(labels))]
    table = pa.table({"image": images, "label": labels, **columns})
    if names is not None:
        features = {"label": {"names": list(names), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)


LAYOUTS = [
    (["default/train/0000", "default/test/0000"], (4, 0, 4)),
    (["default/partial-train/0000", "default/validation/0000", "default/test/0000"], (4, 4, 4)),
    (["train/a", "train/b", "test/a"], (8, 0, 4)),
    (["Train", "Test"], (4, 0, 4)),
    (["train", "eval"], (4, 0, 4)),
    (["train", "dev"], (4, 4, 0)),
    (["data/train-00000-of-00002", "data/train-00001-of-00002", "data/validation-00000-of-00001"], (8, 4, 0)),
    (["cifar10_train", "cifar10_test"], (4, 0, 4)),
    (["a", "b"], (8, 0, 0)),
    (["2024/a", "2025/a"], (8, 0, 0)),
]


@pytest.mark.parametrize(("files", "counts"), LAYOUTS)
def test_splits_by_name(tmp_path: Path, files: list[str], counts: tuple[int, ...]) -> None:
    for name in files:
        _table(tmp_path / f"{name}.parquet", [0, 1, 0, 1])
    (tmp_path / "._train.parquet").write_bytes(b"AppleDouble")
    (tmp_path / "README.md").write_text("about")
    source = _open(tmp_path)
    assert tuple(len(source.of(split)) for split in SPLITS) == counts
    assert {left.name: left.reason for left in source.left_out} == {
        "._train.parquet": "hidden",
        "README.md": "no Parquet file",
    }
    assert source.found == sum(counts) + 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train", "test", "more"], r"'more.parquet' name\(s\) no split, beside files that do"),
        (["en/train/0", "fr/train/0"], r"several sets with splits of their own: 'en', 'fr'"),
        (["train/test-0", "test/test-0"], r"'train/test-0.parquet' names more than one split"),
        (["test"], r"'test.parquet', which name\(s\) no training split"),
    ],
)
def test_names_that_leave_splits_open_are_refused(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        _table(tmp_path / f"{name}.parquet", [0, 1, 0, 1])
    with pytest.raises(DataError, match=message):
        _open(tmp_path)


def test_a_column_of_splits(tmp_path: Path) -> None:
    _table(tmp_path / "a.parquet", [0, 1] * 6, split=["train"] * 6 + ["validation"] * 4 + ["test"] * 2)
    source = _open(tmp_path / "a.parquet")
    assert [len(source.of(split)) for split in SPLITS] == [6, 4, 2]
    assert source.test_items[0].content() == picture(f"{tmp_path / 'a.parquet'}10")


def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    _table(tmp_path / "train.parquet", [0, 1] * 3)
    pq.write_table(pq.read_table(tmp_path / "train.parquet").slice(0, 0), tmp_path / "test.parquet")
    with pytest.raises(DataError, match="the test split is there, but has no rows"):
        _open(tmp_path)


def test_a_single_file_is_divided_whatever_its_name(tmp_path: Path) -> None:
    _table(tmp_path / "test.parquet", [0, 1] * 3)
    assert len(_open(tmp_path / "test.parquet").items) == 6


@pytest.mark.parametrize(
    ("labels", "names", "classes", "unlabelled"),
    [
        ([0, 1, 2, -1, -1, 0], ["x", "y", "z"], {"x": 2, "y": 1, "z": 1}, 2),
        ([0, 1, 1, 0], ["x", "y", "unused"], {"x": 2, "y": 2}, 0),
        ([-1, 1, -1, 1], None, {"-1": 2, "1": 2}, 0),
        ([-1, 0, 1, 2], None, {"0": 1, "1": 1, "2": 1}, 1),
        ([0.0, 1.0, float("nan"), 1.0], None, {"0": 1, "1": 2}, 1),
        (["b", "a", "", None], None, {"a": 1, "b": 1}, 2),
        (["10", "9", "10", "9"], None, {"9": 2, "10": 2}, 0),
        ([True, False, True, None], None, {"0": 1, "1": 2}, 1),
    ],
)
def test_labels(
    tmp_path: Path, labels: list[Any], names: list[str] | None, classes: dict[str, int], unlabelled: int
) -> None:
    _table(tmp_path / "a.parquet", pa.array(labels, from_pandas=False), names)
    source = _open(tmp_path)
    counts = Counter(item.label for item in source.items)
    assert {name: counts[index] for index, name in enumerate(source.classes)} == classes
    assert list(source.classes) == list(classes)
    assert [left.reason for left in source.left_out] == ["no label"] * unlabelled


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([[0, 1], [1, 0]], None, r"column 'label' has lists, such as \[0, 1\]; accepted is one"),
        ([[0], [1]], None, "has lists"),
        ([0.25, 0.5], None, "has the number 0.25, which is no class"),
        ([{"a": 1}, {"a": 2}], None, "has records"),
        ([b"cat", b"dog"], None, "has bytes"),
        ([0, 7], ["x", "y"], "has label 7, but declares 2 names"),
        ([3, 3], None, "has one class only, '3'"),
        (pa.array([None, None], pa.int64()), None, "has no label at all"),
    ],
)
def test_labels_that_are_no_classes(tmp_path: Path, labels: Any, names: list[str] | None, message: str) -> None:
    _table(tmp_path / "a.parquet", labels, names)
    with pytest.raises(DataError, match=message):
        _open(tmp_path)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([[0.0] * 300] * 2, r"column 'image' holds list<.*, which are no pictures"),
        ([1, 2], "holds int64, which are no pictures"),
    ],
)
def test_columns_that_are_no_pictures(tmp_path: Path, images: list[Any], message: str) -> None:
    pq.write_table(pa.table({"image": images, "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        _open(tmp_path)


def test_paths_stay_inside_the_folder(tmp_path: Path) -> None:
    """A row may name a file of the data's folder, and no other."""
    root = make_tree(tmp_path / "data", {"pictures": 6})
    (tmp_path / "secret.png").write_bytes(picture("secret"))
    (root / "out.png").symlink_to("/etc/passwd")
    inside = [f"pictures/{index}.png" for index in range(6)]
    pq.write_table(pa.table({"image": inside, "label": [0, 1] * 3}), root / "a.parquet")
    assert [item.open().size for item in _open(root).items] == [(9, 8)] * 6
    for hostile in ("/etc/passwd", "../secret.png", "pictures/../../secret.png", "out.png", "a\0b", "x" * 5000):
        rows = [{"bytes": None, "path": path} for path in (*inside, hostile)]
        pq.write_table(pa.table({"image": rows, "label": [0, 1] * 3 + [0]}), root / "a.parquet")
        with pytest.raises(DataError, match=r"outside the data's folder|is no file name|is not in"):
            _open(root).items[-1].open()
        with pytest.raises(DataError, match=r"skip_broken = true leaves it out"):
            prepare(divide(_open(root), 0.2, 0.2, 0), 8, tmp_path / "out")


@pytest.mark.parametrize("rows_per_group", [7, 1000])
def test_images_are_read_in_any_order(tmp_path: Path, rows_per_group: int) -> None:
    images = [picture(str(row)) for row in range(200)]
    table = pa.table({"image": images, "label": [0, 1] * 100})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=rows_per_group)
    items = _open(tmp_path).items
    for row in (0, 199, 50, 49, 51, 6, 7, 120):
        assert items[row].content() == images[row]


def test_a_missing_column_is_told_with_those_there_are(tmp_path: Path) -> None:
    pq.write_table(pa.table({"img": [b"x"], "label": [0]}), tmp_path / "a.parquet")
    make_tree(tmp_path, {"a": 2, "b": 2})
    with pytest.raises(DataError, match=r"no column 'image'; it has 'img', 'label' .*; 4 pictures lie beside"):
        _open(tmp_path)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (r"IMG_(\d*|)x|.", "matches nothing in the file name"),
        (r"(|a)", "matches nothing"),
        (r"[", "neither a column nor a pattern"),
        (r"photo(\d)", "does not match the file name 'IMG_0.png'"),
        ("person", "row 2 has no value in column 'person'"),
    ],
)
def test_groups_that_are_none(tmp_path: Path, group: str, message: str) -> None:
    _table(tmp_path / "a.parquet", [0, 1, 0, 1], person=["x", "y", None, "z"])
    with pytest.raises(DataError, match=message):
        _open(tmp_path, group)
