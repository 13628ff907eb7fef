"""The account of a data set adds up to what is in the folder, for any tree."""

import os
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.division import divide
from pipeline.data.errors import DataError
from pipeline.data.inventory import inventory_lines
from pipeline.data.sources import open_source
from tests.data.trees import make_tree, picture

FOLDERS = st.sampled_from(["cat", "dog", "blood test", "v1.0", "train", "Test", "val", ".git", "x_train"])
FILES = st.sampled_from(
    ["stray.png", "notes.txt", ".hidden.png", "._a.jpg", "a.dng", "b.JPG", "x-test.png", "noext", "empty.png", "a.zip"]
)


@st.composite
def trees(draw: st.DrawFn) -> tuple[dict[str, int], list[str]]:
    """Folders one or two deep with pictures, and files anywhere among them."""
    splits = draw(st.sampled_from([("",), ("",), ("train/", "test/"), ("Training/", "val/", "holdout/")]))
    classes = draw(st.lists(FOLDERS, min_size=2, max_size=4, unique=True))
    counts = {f"{split}{name}": draw(st.integers(0, 6)) for split in splits for name in classes}
    others = [
        f"{draw(st.sampled_from(['', *[f'{place}/' for place in counts]]))}{draw(FILES)}"
        for _ in range(draw(st.integers(0, 6)))
    ]
    return counts, others


@settings(max_examples=150, deadline=None)
@given(tree=trees(), copies=st.lists(st.integers(0, 30), max_size=4), limit=st.sampled_from([None, 5]))
def test_used_and_left_out_add_up_to_the_files(
    tree: tuple[dict[str, int], list[str]], copies: list[int], limit: int | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = make_tree(Path(folder), *tree)
        there = sorted(path for path in root.rglob("*.png") if path.is_file())
        for index in copies:
            if there:
                original = there[index % len(there)]
                original.with_name(f"copy{index}.png").write_bytes(original.read_bytes())
        files = {
            (Path(place) / name).relative_to(root).as_posix() for place, _, names in os.walk(root) for name in names
        }
        try:
            division = divide(open_source(folder, None, "image", "label"), 0.2, 0.2, 0, limit)
        except DataError as error:
            assert "\n" not in str(error)
            return
        told = division.inventory.document()
        used = {item.name for items in division.parts.values() for item in items}
        left = {item.name for item in division.inventory.left_out}
        assert not used & left and used | left == files
        assert told["found"] == len(files)
        assert sum(sum(classes.values()) for classes in told["used"].values()) == len(used)
        assert sum(entry["count"] for entry in told["left_out"]) == len(left)
        content = [{item.open().tobytes() for item in items} for items in division.parts.values()]
        assert not content[0] & content[1] and not content[0] & content[2] and not content[1] & content[2]
        assert list(inventory_lines(told))


def test_lines_tell_splits_and_reasons(tmp_path: Path) -> None:
    root = make_tree(tmp_path, {"train/a": 6, "train/b": 6, "test/a": 2, "test/b": 2}, ["readme.md", "train/a/x.dng"])
    (root / "train/a/copy.png").write_bytes((root / "test/a/0.png").read_bytes())
    (root / "train/b/p.png").write_bytes(picture("p"))
    lines = list(
        inventory_lines(divide(open_source(str(root), None, "image", "label"), 0.2, 0.2, 0).inventory.document())
    )
    assert lines[0] == "images: 17 used of 20 files in 2 classes; train 11, search 2, test 4 (as the data has it)"
    assert "  left out: 1, the same picture as one of the test split: 'train/a/copy.png'" in lines
    assert "  left out: 1, .dng is not read: 'train/a/x.dng'" in lines
