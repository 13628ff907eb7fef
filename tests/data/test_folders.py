"""Folders as people have them: what becomes a class, a split, or is left out, and what is refused by name."""

import os
from collections import Counter
from pathlib import Path

import pytest

from pipeline.data.division import divide
from pipeline.data.errors import DataError
from pipeline.data.items import Source
from pipeline.data.names import SPLITS
from pipeline.data.sources import fingerprint, open_source
from tests.data.trees import make_tree, picture


def _open(path: Path, group: str | None = None, label_column: str = "label") -> Source:
    return open_source(str(path), group, "image", label_column)


def _counts(source: Source) -> tuple[dict[str, int], ...]:
    """Images by class of training, search and test, as the data brings them."""
    return tuple({source.classes[k]: n for k, n in Counter(i.label for i in source.of(s)).items()} for s in SPLITS)


NONE: dict[str, int] = {}
USED = [
    ({"bus": 3, "car": 4}, {"bus": 3, "car": 4}, NONE, NONE),
    # Only the first level names splits.
    (
        {"train/bus": 3, "train/car": 3, "train/train": 3, "test/bus": 1, "test/car": 1, "test/train": 2},
        {"bus": 3, "car": 3, "train": 3},
        NONE,
        {"bus": 1, "car": 1, "train": 2},
    ),
    (
        {"train/test": 3, "train/control": 4, "test/test": 1, "test/control": 2},
        {"test": 3, "control": 4},
        NONE,
        {"test": 1, "control": 2},
    ),
    ({"blood test": 3, "crash-test": 3, "shoes": 3}, {"blood test": 3, "crash-test": 3, "shoes": 3}, NONE, NONE),
    ({"bus": 3, "car": 3, "bullet_train": 3}, {"bus": 3, "car": 3, "bullet_train": 3}, NONE, NONE),
    *(
        ({f"{train}/a": 3, f"{train}/b": 3, f"{test}/a": 1, f"{test}/b": 1}, {"a": 3, "b": 3}, NONE, {"a": 1, "b": 1})
        for train, test in (
            ("Training", "Testing"),
            ("Train", "Test"),
            ("TRAIN", "TEST"),
            ("Train", "test"),
            ("train", "holdout"),
            ("training_set", "test_set"),
            ("train", "eval"),
        )
    ),
    ({"hat/anna": 2, "hat/ben": 1, "dress/anna": 3, "dress/ben": 2}, {"hat": 3, "dress": 5}, NONE, NONE),
    (
        {"train/a": 3, "train/b": 3, "validation/a": 2, "validation/b": 2, "test/a": 1, "test/b": 1},
        {"a": 3, "b": 3},
        {"a": 2, "b": 2},
        {"a": 1, "b": 1},
    ),
    ({"train/a": 4, "train/b": 4, "val/a": 2, "val/b": 2}, {"a": 4, "b": 4}, {"a": 2, "b": 2}, NONE),
    ({"train/a/images": 3, "train/b/images": 3}, {"a": 3, "b": 3}, NONE, NONE),
    ({"v1.0": 3, "v2.0.jpg": 3}, {"v1.0": 3, "v2.0.jpg": 3}, NONE, NONE),
    ({"0": 3, "1": 3, "10": 3}, {"0": 3, "1": 3, "10": 3}, NONE, NONE),
    ({"a": 3, "b": 3, ".ipynb_checkpoints": 2, "__MACOSX/a": 3}, {"a": 3, "b": 3}, NONE, NONE),
]


@pytest.mark.parametrize(("tree", "train", "search", "test"), USED)
def test_what_folders_become(
    tmp_path: Path, tree: dict[str, int], train: dict[str, int], search: dict[str, int], test: dict[str, int]
) -> None:
    assert _counts(_open(make_tree(tmp_path, tree))) == (train, search, test)


@pytest.mark.parametrize(
    "name", ["x-test.jpg", "train_x.jpg", "a.JPG", "photo.jfif", "p~1.png", "a::b.png", "val.png", "test/x.png"]
)
def test_file_names_do_not_matter(tmp_path: Path, name: str) -> None:
    source = _open(make_tree(tmp_path, {"a": 3, "b": 3}, [f"a/{name}"]))
    assert _counts(source)[0] == {"a": 4, "b": 3}


REFUSED = [
    ({"train/a": 3, "train/b": 3, "extra/a": 3}, [], r"'train', and beside them 'extra'.*holdout"),
    ({"test": 3, "control": 3}, [], r"'test', and beside them 'control'"),
    ({"val/a": 3, "val/b": 3, "test/a": 1}, [], r"'test', 'val' and no folder of training"),
    ({"train/a": 3, "train/b": 3, "val/a": 1, "dev/a": 1}, [], r"'dev', 'val', which all name the search split"),
    ({"train/a": 3, "train/b": 3, "test/c": 1}, [], r"test has the class folder\(s\) 'c', which training has not"),
    ({"train/a": 3, "train/b": 3, "test": 4}, [], r"test has 4 pictures and no class folders, such as 'test/0.png'"),
    ({"seg_train/a": 3, "seg_train/b": 3, "seg_test/a": 1, "seg_test/b": 1}, [], r"'seg_test', 'seg_train' with the"),
    ({"": 4}, ["labels.csv"], r"4 pictures and no class folders.*'labels.csv' are read from a metadata.csv"),
    ({"data/a": 3, "data/b": 3}, [], r"one with pictures, 'data'; if its folders 'a', 'b' .*data$"),
    ({"train/a": 3, "train/b": 3, "test/a": 0}, [], r"test has no pictures; accepted are"),
    ({"train/a": 3, "train/b": 3}, ["test/labels.csv"], r"test has no pictures.*'test/labels.csv' are read from"),
    ({"a/train": 3, "a/test": 1, "b/train": 3, "b/test": 1}, [], r"splits 'test', 'train' inside 'a', 'b'; put splits"),
    ({"a": 3}, [], r"two or more class folders; it has one with pictures, 'a'$"),
    ({}, ["photos.zip"], r"holds no images, but 'photos.zip': unpack it"),
    ({}, ["readme.md"], r"no images in class folders, and no Parquet files \(1 file\(s\): .md is no picture\)"),
    ({}, [], r"no images in class folders.*it is empty"),
    ({"a": 3, "b": 3}, ["c/1.dng", "c/2.dng"], r"c' has no picture that can be read: 2 file\(s\) such as '1.dng'"),
    ({"a": 3, "b": 3}, ["metadata.csv"], r"has no column 'file_name'"),
]


@pytest.mark.parametrize(("tree", "others", "message"), REFUSED)
def test_what_is_refused_and_how(tmp_path: Path, tree: dict[str, int], others: list[str], message: str) -> None:
    root = make_tree(tmp_path / "photos", tree, others)
    with pytest.raises(DataError, match=message):
        _open(root)


def test_an_archive_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"unpack it \(unzip photos.zip -d photos\)"):
        _open(tmp_path / "photos.zip")


def test_what_is_left_out_is_told_by_reason(tmp_path: Path) -> None:
    others = ["stray.png", "a/notes.txt", "a/.DS_Store", "b/x.dng", "empty/keep.md", "b/film.mp4"]
    source = _open(make_tree(tmp_path, {"a": 3, "b": 3}, others))
    assert {left.name: left.reason for left in source.left_out} == {
        "stray.png": "outside class folders",
        "a/notes.txt": ".txt is no picture",
        "a/.DS_Store": "hidden",
        "b/x.dng": ".dng is not read",
        "b/film.mp4": ".mp4 is not read",
        "empty/keep.md": ".md is no picture",
    }
    assert any("empty" in remark and "no class" in remark for remark in source.remarks)
    assert source.found == 6 + len(others)


def test_links_are_followed_unless_they_lead_nowhere_new(tmp_path: Path) -> None:
    pool = make_tree(tmp_path / "pool", {"a": 3, "b": 3, "test/a": 1, "test/b": 1})
    root = tmp_path / "photos"
    (root / "train").mkdir(parents=True)
    (root / "train" / "a").symlink_to(pool / "a")
    (root / "train" / "b").symlink_to("../../pool/b")
    (root / "test").symlink_to(pool / "test", target_is_directory=True)
    (root / "train" / "a" / "up").symlink_to(root)
    (root / "train" / "me").symlink_to("me")
    (root / "train" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(root / "train" / "pipe.png")
    (root / "train" / "zero.png").symlink_to("/dev/zero")
    source = _open(root)
    assert _counts(source) == ({"a": 3, "b": 3}, {}, {"a": 1, "b": 1})
    assert {left.name: left.reason for left in source.left_out} == {
        "train/a/up": "a link to a folder that it is in",
        "train/me": "a link to nothing",
        "train/gone.png": "a link to nothing",
        "train/pipe.png": "no regular file",
        "train/zero.png": "no regular file",
    }


def test_links_that_multiply_end(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"a": 2, "b": 2})
    for level in range(12):
        (root / "a" / f"d{level}").mkdir()
        for side in "xy":
            (root / "a" / f"d{level}" / side).symlink_to(f"../d{level + 1}")
    assert _counts(_open(root))[0] == {"a": 2, "b": 2}


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"a": 3, "b": 3})
    odd = os.fsdecode(b"caf\xe9")
    try:
        (root / odd).mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for index in range(3):
        (root / odd / (odd + f"{index}.png")).write_bytes(picture(f"odd{index}"))
    source = _open(root)
    assert source.classes == ("a", "b", "caf\\xe9")
    assert {item.name for item in source.items if item.label == 2} == {f"caf\\xe9/caf\\xe9{n}.png" for n in range(3)}
    assert source.items[-1].open().size == (9, 8)


def _labelled(root: Path, text: str, name: str = "metadata.csv") -> Path:
    make_tree(root, {"": 6})
    (root / name).write_text(text)
    return root


TABLE = "file_name,category\n0.png,cat\n1.png,dog\n2.png,cat\n3.png,dog\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (TABLE, "metadata.csv"),
        ("\ufeff" + TABLE.replace(",", ";"), "metadata.csv"),
        (
            '{"file_name": "0.png", "category": "cat"}\n{"file_name": "1.png", "category": "dog"}\n'
            '{"file_name": "2.png", "category": "cat"}\n{"file_name": "3.png", "category": "dog"}\n',
            "metadata.jsonl",
        ),
    ],
)
def test_a_table_of_labels(tmp_path: Path, text: str, name: str) -> None:
    source = _open(_labelled(tmp_path, text, name), label_column="category")
    assert _counts(source)[0] == {"cat": 2, "dog": 2}
    reasons = Counter(left.reason for left in source.left_out)
    assert reasons == {"in no table of labels": 2, "a table of labels": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE + "9.png,cat\n", r"names 1 file\(s\) that are not there: '9.png'"),
        (TABLE + "0.png,cat\n", r"names '0.png' twice"),
        (TABLE + "../../secret.png,cat\n", r"names '../../secret.png'; file names .* stay in it"),
        (TABLE + "/etc/passwd,cat\n", r"names '/etc/passwd'"),
        (TABLE + "4.png\n", r"line 6: 1 cells under 2 column names"),
        ("file_name,category,category\n", r"has the column 'category' twice"),
        (
            TABLE.replace("category", "kind"),
            r"has no column 'category' \(it has 'file_name', 'kind'\); \[data\] label_",
        ),
    ],
)
def test_tables_of_labels_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _open(_labelled(tmp_path, text), label_column="category")


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (("train", "train", "test", "test"), ({"cat": 1, "dog": 1}, {}, {"cat": 1, "dog": 1})),
        (("Train", "Train", "val", "val"), ({"cat": 1, "dog": 1}, {"cat": 1, "dog": 1}, {})),
        (("1", "2", "1", "2"), ({"cat": 2, "dog": 2}, {}, {})),
    ],
)
def test_a_column_of_splits(tmp_path: Path, values: tuple[str, ...], counts: tuple[dict[str, int], ...]) -> None:
    lines = [f"{line},{value}" for line, value in zip(TABLE.split()[1:], values, strict=True)]
    root = _labelled(tmp_path, "\n".join(["file_name,category,split", *lines]))
    source = _open(root, label_column="category")
    assert _counts(source) == counts
    assert any("'split' names no splits (such as '1')" in remark for remark in source.remarks) == (values[0] == "1")


def test_a_label_column_without_a_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"label_column = 'kind' names a column of a metadata file: there is no"):
        _open(make_tree(tmp_path, {"a": 3, "b": 3}), label_column="kind")


def test_a_test_split_that_is_the_training_split_is_refused(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"train/a": 4, "train/b": 4})
    (root / "test").symlink_to("train")
    with pytest.raises(DataError, match=r"all images of class 'a' in the train split are byte by byte those of"):
        divide(_open(root), 0.2, 0.2, 0)


def test_a_table_of_labels_for_each_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        make_tree(tmp_path, {split: 4})
        (tmp_path / split / "metadata.csv").write_text(TABLE.replace("category", "label"))
    assert _counts(_open(tmp_path)) == ({"cat": 2, "dog": 2}, {}, {"cat": 2, "dog": 2})


def test_copies_stay_on_one_side(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"train/a": 5, "train/b": 5, "val/a": 2, "val/b": 2, "test/a": 2, "test/b": 2})
    same = (root / "test/a/0.png").read_bytes()
    (root / "train/b/again.png").write_bytes(same)
    (root / "val/a/again.png").write_bytes(same)
    division = divide(_open(root), 0.2, 0.2, 0)
    assert {split: len(items) for split, items in division.parts.items()} == {"train": 10, "search": 4, "test": 4}
    told = division.inventory.document()
    assert told["left_out"] == [
        {
            "reason": "the same picture as one of the test split",
            "count": 2,
            "first": ["val/a/again.png", "train/b/again.png"],
        }
    ]
    assert any("in two classes" in remark and "'train/b/again.png' (b)" in remark for remark in told["remarks"])


def test_copies_in_training_are_never_divided(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"a": 20, "b": 20})
    for index in range(10):
        (root / "a" / f"copy{index}.png").write_bytes((root / "a" / f"{index}.png").read_bytes())
    for seed in range(5):
        parts = divide(_open(root), 0.25, 0.25, seed).parts
        sides = [{item.open().tobytes() for item in items} for items in parts.values()]
        assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]


def test_a_strong_imbalance_is_told(tmp_path: Path) -> None:
    division = divide(_open(make_tree(tmp_path, {"a": 120, "b": 4})), 0.15, 0.2, 0)
    assert any("'b' 2, 39 times fewer" in remark for remark in division.inventory.remarks)


def test_the_fingerprint_sees_what_was_added_or_changed(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "photos", {"a": 2, "b": 2}, ["metadata.csv"])
    before = fingerprint(str(root))
    assert before == fingerprint(str(root))
    (root / "metadata.csv").write_text("metadata.cs,")
    edited = fingerprint(str(root))
    (root / "a" / "new.png").write_bytes(picture("new"))
    assert len({before, edited, fingerprint(str(root))}) == 3
    assert fingerprint(str(tmp_path / "gone")) is None
