"""Images from folders, Parquet and memory: what a user's data may look like, and what is said when it is broken."""

import io
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from PIL import Image

from pipeline.data.dataset import load_dataset
from pipeline.data.division import divide
from pipeline.data.errors import DataError
from pipeline.data.items import Item, Source
from pipeline.data.prepare import prepare
from pipeline.data.sources import open_source
from pipeline.data.splits import split_items


def _picture(colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.new("RGB", size, colour)


def _open(path: Path | str, group: str | None = None) -> Source:
    return open_source(str(path), group, "image", "label")


def _unreachable_hub(api: HfApi, **_: object) -> None:
    api.endpoint, api.token = "http://127.0.0.1:9", False
    api.library_name = api.library_version = api.user_agent = None
    api.headers = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, JPEG and PNG, sizes mixed; file names carry a person."""
    root = tmp_path_factory.mktemp("pictures")
    for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
        (root / label).mkdir()
        for index in range(12):
            suffix = "png" if index % 2 else "jpg"
            _picture(colour, (20 + index, 30)).save(root / label / f"person{index // 3}_{index}.{suffix}")
    return root


def test_class_folders_become_balanced_splits(folder: Path, tmp_path: Path) -> None:
    source = _open(folder)
    assert source.classes == ("blue", "red")
    division = divide(source, 0.25, 0.25, seed=0)
    assert {name: len(items) for name, items in division.parts.items()} == {"train": 12, "search": 6, "test": 6}
    for items in division.parts.values():
        counts = Counter(item.label for item in items)
        assert counts[0] == counts[1]
    prepare(division, 16, tmp_path / "data")
    dataset = load_dataset(tmp_path / "data")
    assert dataset.train.pixels.shape == (12, 16, 16, 3)
    for pixels, label in zip(dataset.test.pixels, dataset.test.labels, strict=True):
        # Blue pictures are blue and red ones red: pixels and labels stayed together.
        assert pixels[8, 8].argmax() == (2 if label == 0 else 0)


def test_the_same_seed_gives_the_same_split_and_another_another(folder: Path) -> None:
    source = _open(folder)

    def names(seed: int) -> list[str]:
        return [item.name for item in divide(source, 0.25, 0.25, seed).parts["test"]]

    assert names(1) == names(1)
    assert names(1) != names(2)


def test_groups_stay_on_one_side(folder: Path) -> None:
    parts = divide(_open(folder, r"person(\d+)"), 0.25, 0.25, seed=3).parts
    groups = [{item.group for item in items} for items in parts.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert groups[0] | groups[1] | groups[2] == {"0", "1", "2", "3"}


def test_exif_rotation_is_honoured(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for index in range(3):
            picture = Image.new("RGB", (60, 40))
            picture.paste((255, 255, 255), (0, 0, 30, 40))  # the left half is white
            exif = Image.Exif()
            exif[0x0112] = 6  # shown turned by 90 degrees clockwise: white is then on top
            picture.save(tmp_path / label / f"{index}.jpg", exif=exif)
    source = _open(tmp_path)
    upright = np.asarray(source.items[0].open())
    assert upright.shape == (60, 40, 3)
    assert upright[:20].mean() > 250 and upright[40:].mean() < 5


def _parquet(path: Path, labels: list[int], people: list[str]) -> None:
    images = []
    for index, label in enumerate(labels):
        stream = io.BytesIO()
        _picture((80 * label % 256, index, len(path.name))).save(stream, "PNG")
        images.append({"bytes": stream.getvalue(), "path": None})
    pq.write_table(pa.table({"image": images, "label": labels, "person": people}), path)


def test_parquet_keeps_the_test_split_that_it_brings(tmp_path: Path) -> None:
    _parquet(tmp_path / "train-0.parquet", [0, 1, 2] * 4, ["x"] * 12)
    _parquet(tmp_path / "test-0.parquet", [0, 1, 2], ["y"] * 3)
    source = _open(tmp_path)
    assert (len(source.items), len(source.test_items), source.classes) == (12, 3, ("0", "1", "2"))
    parts = divide(source, 0.25, 0.2, seed=0).parts
    assert {name: len(items) for name, items in parts.items()} == {"train": 9, "search": 3, "test": 3}


def test_labels_may_be_any_numbers_but_the_test_split_brings_no_new_ones(tmp_path: Path) -> None:
    _parquet(tmp_path / "train.parquet", [5, 1000] * 6, ["x"] * 12)
    source = _open(tmp_path / "train.parquet")
    assert source.classes == ("5", "1000")
    assert Counter(item.label for item in source.items) == {0: 6, 1: 6}
    _parquet(tmp_path / "test.parquet", [7], ["y"])
    with pytest.raises(DataError, match="label '7', which no training image has"):
        _open(tmp_path)


def test_pictures_of_one_name_are_not_one_group(tmp_path: Path) -> None:
    rows = []
    for index in range(16):
        stream = io.BytesIO()
        _picture((9, 9, index)).save(stream, "PNG")
        rows.append({"bytes": stream.getvalue(), "path": "img.png"})
    pq.write_table(pa.table({"image": rows, "label": [0, 1] * 8}), tmp_path / "same.parquet")
    parts = divide(_open(tmp_path / "same.parquet"), 0.25, 0.25, 0).parts
    assert [len(items) for items in parts.values()] == [8, 4, 4]


def test_a_group_in_the_test_split_of_the_data_is_refused(tmp_path: Path) -> None:
    _parquet(tmp_path / "train-0.parquet", [0, 1] * 6, ["x", "z"] * 6)
    _parquet(tmp_path / "test-0.parquet", [0, 1], ["x", "y"])
    with pytest.raises(DataError, match=r"group 'x'.*own test split"):
        divide(_open(tmp_path, "person"), 0.25, 0.2, 0)


def test_a_rare_class_is_in_every_split() -> None:
    """3 images against 400, where 15 % of 3 is less than one."""
    rows = ["rare"] * 3 + ["common"] * 400
    items = [Item(f"{n}", int(row == "common"), f"{n}", bytes) for n, row in enumerate(rows)]
    parts = split_items(items, [0.15, 0.2], seed=0, class_names=["rare", "common"])
    assert [sum(item.label == 0 for item in part) for part in parts] == [1, 1, 1]
    assert [sum(item.label == 1 for item in part) for part in parts] == [260, 60, 80]


def test_a_path_may_have_characters_of_a_pattern(tmp_path: Path) -> None:
    root = tmp_path / "my [x] im*gs?"
    for label in ("a [1]", "b"):
        (root / label).mkdir(parents=True)
        for index in range(2):
            _picture((80 * index, 0, 0)).save(root / label / f"{index}[q].png")
    assert _open(root).classes == ("a [1]", "b")
    _parquet(root / "train [1].parquet", [0, 1], ["x", "y"])
    assert len(_open(root).items) == 2


def test_a_torn_parquet_file_is_named(tmp_path: Path) -> None:
    _parquet(tmp_path / "a.parquet", [0, 1], ["x", "y"])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"b\.parquet is corrupt, or is no Parquet file$"):
        _open(tmp_path)


def test_a_mistyped_folder_is_not_searched_on_the_hub_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    # A closed port of this machine stands for a hub that does not answer.
    monkeypatch.setattr("huggingface_hub.hf_api.HfApi.__init__", _unreachable_hub)
    began = time.monotonic()
    with pytest.raises(DataError, match=r"'data/imgs' is no folder or file here.*the folder 'data' is here"):
        _open("data/imgs")
    assert time.monotonic() - began < 20


def test_one_class_only_is_told(tmp_path: Path) -> None:
    (tmp_path / "only").mkdir()
    for index in range(4):
        _picture((0, 0, 0)).save(tmp_path / "only" / f"{index}.png")
    with pytest.raises(DataError, match="two or more class folders"):
        _open(tmp_path)


def test_a_column_can_name_the_groups(tmp_path: Path) -> None:
    people = [f"p{index // 4}" for index in range(24)]
    _parquet(tmp_path / "pictures.parquet", [0, 1] * 12, people)
    parts = divide(_open(tmp_path / "pictures.parquet", "person"), 0.25, 0.25, seed=0).parts
    sides = [{item.group for item in items} for items in parts.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 6


def test_a_limit_keeps_classes_even(folder: Path) -> None:
    parts = divide(_open(folder), 0.25, 0.25, seed=0, limit=4).parts
    assert all(Counter(item.label for item in items) == {0: 2, 1: 2} for items in parts.values())


def test_embedded_digits() -> None:
    source = _open("digits")
    assert len(source.items) == 1797 and len(source.classes) == 10
    assert source.items[0].open().size == (8, 8)


def test_an_unreadable_image_is_named_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "pictures"
    for file in folder.rglob("*.*"):
        target = copy / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    (copy / "red" / "broken.jpg").write_bytes(b"\xff\xd8 this is no picture")
    source = _open(copy)
    with pytest.raises(DataError, match=r"broken\.jpg.*cannot be read"):
        prepare(divide(source, 0.25, 0.25, 0), 16, tmp_path / "data")
    assert not (tmp_path / "data" / "data.json").exists()


def test_missing_and_empty_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        _open(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no images"):
        _open(tmp_path)


def test_a_class_with_one_image_is_named(tmp_path: Path) -> None:
    for label, count in (("many", 6), ("lonely", 1)):
        (tmp_path / label).mkdir()
        for index in range(count):
            _picture((0, 0, 0)).save(tmp_path / label / f"{index}.png")
    with pytest.raises(DataError, match=r"'lonely' has 1 image"):
        divide(_open(tmp_path), 0.2, 0.2, 0)


def test_a_group_pattern_that_does_not_match_is_told(folder: Path) -> None:
    with pytest.raises(DataError, match="does not match"):
        _open(folder, r"camera(\d+)")


def test_a_class_in_too_few_groups_is_told(folder: Path) -> None:
    source = _open(folder, r"(person)")
    with pytest.raises(DataError, match="too few groups"):
        split_items(source.items, [0.25, 0.25], 0, source.classes)


def test_photographs_do_not_leak_persons(shared_data: Path, tmp_path: Path) -> None:
    """The sign-digit photographs, ten consecutive numbers a person, three of them 3024 pixels and turned."""
    import zipfile

    with zipfile.ZipFile(shared_data / "sign_digits_imagefolder.zip") as archive:
        archive.extractall(tmp_path)
    source = _open(tmp_path / "sign_digits", r"IMG_(\d+)\d")
    assert len(source.items) == 2062
    parts = divide(source, 0.15, 0.2, 0).parts
    shares = {name: len(items) / 2062 for name, items in parts.items()}
    assert shares == pytest.approx({"train": 0.65, "search": 0.15, "test": 0.2}, abs=0.01)
    sides = [{item.group for item in items} for items in parts.values()]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
