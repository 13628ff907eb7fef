"""Pictures that stay encoded are the pixels that decoding them once would have kept."""

import copy
import io
import os
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from pipeline.data.dataset import Dataset, load_dataset
from pipeline.data.division import Division, divide
from pipeline.data.encoded import EncodedPictures
from pipeline.data.errors import DataError
from pipeline.data.large import decoded_gb, prepare_encoded
from pipeline.data.names import SPLITS
from pipeline.data.prepare import prepare
from pipeline.data.sources import open_source
from tests.data.trees import make_tree, picture


def _files(root: Path) -> Path:
    """Formats, sizes, a turned picture, and 12-bit greys."""
    make_tree(root, {"a": 6, "b": 6}, ["a/x.jpg"])
    (root / "a" / "large.jpg").write_bytes(picture("large", (300, 200), "JPEG"))
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.open(io.BytesIO(picture("turned", (40, 30)))).save(stream, "JPEG", exif=exif)
    (root / "b" / "turned.jpg").write_bytes(stream.getvalue())
    for index in range(8):
        Image.fromarray(np.full((12, 8), 900 + 400 * index, np.uint16)).save(root / "b" / f"grey{index}.png")
    return root


def _table(root: Path) -> Path:
    root.mkdir()
    images = [{"bytes": picture(f"row {row}", (20, 24), "JPEG"), "path": None} for row in range(100)]
    table = pyarrow.table({"image": images, "label": [row % 3 for row in range(100)]})
    parquet.write_table(table, root / "train.parquet", row_group_size=7)
    return root


def _division(root: Path) -> Division:
    return divide(open_source(str(root), None, "image", "label"), 0.2, 0.2, 0)


@pytest.fixture(params=[_files, _table])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Dataset, Dataset]:
    """The same pictures decoded, and encoded."""
    division = _division(request.param(tmp_path / "photos"))
    prepare(division, 18, tmp_path / "decoded", seen_px=16)
    prepare_encoded(division, 18, tmp_path / "encoded", seen_px=16)
    return load_dataset(tmp_path / "decoded"), load_dataset(tmp_path / "encoded")


def test_the_pixels_are_those_of_decoding_once(both: tuple[Dataset, Dataset]) -> None:
    decoded, encoded = both
    for of in SPLITS:
        plain, kept = getattr(decoded, of), getattr(encoded, of)
        assert isinstance(kept.pixels, EncodedPictures) and kept.pixels.shape == plain.pixels.shape
        assert np.array_equal(kept.labels, plain.labels)
        rows = np.random.default_rng(0).permutation(len(plain))
        assert np.array_equal(kept.pixels[rows], plain.pixels[rows])
        assert np.array_equal(copy.copy(kept.pixels)[rows], plain.pixels[rows])  # as workers get it
    assert (encoded.mean, encoded.std, encoded.seen_px) == (decoded.mean, decoded.std, decoded.seen_px)


def test_it_is_told_that_they_stay_encoded(tmp_path: Path) -> None:
    division = _division(_files(tmp_path / "photos"))
    told = prepare_encoded(division, 18, tmp_path / "out", seen_px=16)["inventory"]["remarks"]
    size = f"{decoded_gb(division, 18):.3g} GB"
    assert any(f"decoded to 18 pixels they would take {size}, so they stay encoded" in remark for remark in told)
    assert {file.suffix for file in (tmp_path / "out").iterdir()} == {".arrow", ".npy", ".json"}


@pytest.mark.parametrize("skip", [True, False])
def test_broken_pictures_are_left_out_when_asked_for_or_told_by_name(tmp_path: Path, skip: bool) -> None:
    root = make_tree(tmp_path / "photos", {"a": 12, "b": 12})
    (root / "a" / "broken.jpg").write_text("no picture")
    if not skip:
        with pytest.raises(DataError, match=r"'a/broken.jpg' cannot be read.*skip_broken = true leaves it out"):
            prepare_encoded(_division(root), 16, tmp_path / "out", seen_px=16)
        assert not (tmp_path / "out" / "data.json").exists()
        return
    summary = prepare_encoded(_division(root), 16, tmp_path / "out", seen_px=16, skip_broken=True)
    assert sum(summary["images"].values()) == 24
    assert summary["inventory"]["left_out"][0]["first"] == ["a/broken.jpg"]


def test_a_picture_that_went_away_is_named_when_it_is_needed(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "photos", {"a": 8, "b": 8})
    prepare_encoded(_division(root), 16, tmp_path / "out", seen_px=16)
    train = load_dataset(tmp_path / "out").train
    for file in (root / "a").iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"image 'a/\d.png' cannot be read: it is no file"):
        train.pixels[np.arange(len(train))]


def test_a_torn_list_is_one_line(tmp_path: Path) -> None:
    prepare_encoded(_division(make_tree(tmp_path / "photos", {"a": 8, "b": 8})), 16, tmp_path / "out", seen_px=16)
    (tmp_path / "out" / "test.arrow").write_bytes(b"ARROW1 and no more")
    with pytest.raises(DataError, match=r"test.arrow is corrupt"):
        load_dataset(tmp_path / "out")


def test_a_file_whose_name_is_no_text_is_read(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "photos", {"a": 8, "b": 8})
    (root / "a" / os.fsdecode(b"\xff\n.png")).write_bytes(picture("odd"))
    division = _division(root)
    prepare_encoded(division, 16, tmp_path / "out", seen_px=16)
    data = load_dataset(tmp_path / "out")
    assert sum(len(getattr(data, split).pixels[np.arange(len(getattr(data, split)))]) for split in SPLITS) == 17
    names = [item.name for items in division.parts.values() for item in items]
    assert "a/\\xff\n.png" in names
