"""Single pictures: formats, sizes and depths, and files that are none."""

import io
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.dataset import load_dataset
from pipeline.data.division import divide
from pipeline.data.errors import DataError
from pipeline.data.pictures import open_picture, square
from pipeline.data.prepare import prepare
from pipeline.data.sources import open_source
from tests.data.trees import make_tree, picture


def _png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("side", "message"),
    [
        (13_000, r"'big.png' cannot be read: it has 169 megapixels; at most 50$"),
        (20_000, r"it has 400 megapixels; at most 50$"),
    ],
)
def test_too_many_pixels_are_refused_before_they_are_decoded(side: int, message: str) -> None:
    content = _png(side, side, 1, 0, (b"\0" * (side // 8 + 1)) * side)
    began = time.perf_counter()
    with pytest.raises(DataError, match=message):
        square("big.png", content, 32, None)
    assert time.perf_counter() - began < 0.5  # decoding takes seconds


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000", "MPO"])
def test_formats(form: str) -> None:
    pixels = square("x", picture("x", (40, 30), form), 16, None)
    assert isinstance(pixels, np.ndarray) and pixels.shape == (16, 16, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_modes(mode: str) -> None:
    stream = io.BytesIO()
    grey = Image.linear_gradient("L")
    (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)).save(
        stream, "TIFF" if mode == "CMYK" else "PNG"
    )
    pixels = np.asarray(open_picture("x", stream.getvalue())).astype(int)
    assert pixels.shape == (256, 256, 3)
    assert np.abs(pixels[[10, 245]].mean(axis=(1, 2)) - [10, 245]).max() < 16


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright(orientation: int) -> None:
    """Against Pillow's own, at full size."""
    from PIL import ImageOps

    picture_ = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 12, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    picture_.save(stream, "PNG", exif=exif)
    with Image.open(stream) as again:
        expected = np.asarray(ImageOps.exif_transpose(again))
    assert np.array_equal(np.asarray(open_picture("x", stream.getvalue())), expected)


def test_sixteen_bit_pictures_of_a_set_share_one_scale(tmp_path: Path) -> None:
    """12-bit values in 16-bit files: a dark and a light class stay dark and light, and neither is black."""
    for label, value in (("dark", 500), ("light", 4000)):
        (tmp_path / label).mkdir()
        for index in range(4):
            Image.fromarray(np.full((8, 8), value + index, np.uint16)).save(tmp_path / label / f"{index}.png")
    source = open_source(str(tmp_path), None, "image", "label")
    summary = prepare(divide(source, 0.25, 0.25, 0), 8, tmp_path / "out")
    train = load_dataset(tmp_path / "out").train
    means = {int(label): float(image.mean()) for image, label in zip(train.pixels, train.labels, strict=True)}
    assert means == pytest.approx({0: 500 * 255 / 4095, 1: 4000 * 255 / 4095}, abs=1)
    assert summary["depth"] == 12
    assert any("all are read as 12-bit ones (largest value 4,003)" in r for r in summary["inventory"]["remarks"])


def test_sixteen_bit_colours_that_would_turn_black_are_refused() -> None:
    row = b"\0" + struct.pack(">HHH", 3000, 4000, 100) * 4
    with pytest.raises(DataError, match="would turn black"):
        open_picture("x", _png(4, 4, 16, 2, row * 4))


def _broken_tree(root: Path) -> Path:
    make_tree(root, {"a": 12, "b": 12})
    whole = picture("whole", (64, 64), "JPEG")
    (root / "a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "a" / "text.jpg").write_text("no picture")
    (root / "b" / "float.tif").write_bytes(_float_tiff())
    return root


def _float_tiff() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ones((8, 8), np.float32)).save(stream, "TIFF")
    return stream.getvalue()


def test_all_broken_pictures_are_listed_at_once(tmp_path: Path) -> None:
    division = divide(open_source(str(_broken_tree(tmp_path / "in")), None, "image", "label"), 0.2, 0.2, 0)
    with pytest.raises(DataError, match="3 of 27 images cannot be read") as caught:
        prepare(division, 8, tmp_path / "out")
    for name in ("a/cut.jpg", "a/text.jpg", "b/float.tif"):
        assert name in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_broken_pictures_can_be_left_out(tmp_path: Path) -> None:
    division = divide(open_source(str(_broken_tree(tmp_path / "in")), None, "image", "label"), 0.2, 0.2, 0)
    summary = prepare(division, 8, tmp_path / "out", skip_broken=True)
    dataset = load_dataset(tmp_path / "out")
    assert sum(map(len, (dataset.train, dataset.search, dataset.test))) == 24
    assert sum(left["count"] for left in summary["inventory"]["left_out"]) == 3
    for split in (dataset.train, dataset.search, dataset.test):
        assert len(split.pixels) == len(split.labels) and all(image.std() > 0 for image in split.pixels)


def test_two_threads_do_not_hold_two_huge_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree(tmp_path / "in", {"a": 4, "b": 4})
    for index in range(4):
        (root / "a" / f"huge{index}.png").write_bytes(_png(4000, 4000, 1, 0, (b"\0" + bytes([index] * 500)) * 4000))
    inside, most, guard = 0, 0, threading.Lock()
    convert = Image.Image.convert

    def counted(image: Image.Image, mode: str) -> Image.Image:
        nonlocal inside, most
        with guard:
            inside += image.size[0] == 4000
            most = max(most, inside)
        try:
            return convert(image, mode)
        finally:
            with guard:
                inside -= image.size[0] == 4000

    monkeypatch.setattr(Image.Image, "convert", counted)
    prepare(divide(open_source(str(root), None, "image", "label"), 0.2, 0.2, 0), 8, tmp_path / "out")
    assert most == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF"])
def test_damaged_pictures_are_read_or_named(form: str) -> None:
    """A few bytes changed, cut or added: pixels of the right shape, or one line."""
    whole = picture("whole", (24, 20), form)
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(256)
        cut = bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data)
        try:
            pixels = square("x.img", cut, 16, 8)
            assert isinstance(pixels, np.ndarray) and pixels.shape == (16, 16, 3)
        except DataError as error:
            named += 1
            assert "'x.img'" in str(error) and "\n" not in str(error)
    assert named


def test_heic_is_read_with_the_extra_and_told_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree(tmp_path, {"a": 3, "b": 3})
    monkeypatch.setattr("pipeline.data.layout.can_read_heif", lambda: False)
    for name in ("a/IMG_1.HEIC", "b/IMG_2.heic"):
        (root / name).write_bytes(b"heic")
    left = open_source(str(root), None, "image", "label").left_out
    assert {(one.name, one.reason) for one in left} == {
        (name, "HEIC needs the extra: pip install 'pocketnas[heif]'") for name in ("a/IMG_1.HEIC", "b/IMG_2.heic")
    }
    make_tree(root, {}, ["c/IMG_3.heic"])
    with pytest.raises(DataError, match=r"c' has no picture that can be read.*pocketnas\[heif\]"):
        open_source(str(root), None, "image", "label")


def test_heic_pictures_are_read(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    root = make_tree(tmp_path, {"a": 3, "b": 3})
    for label, colour in (("a", (250, 0, 0)), ("b", (0, 0, 250))):
        pillow_heif.from_pillow(Image.new("RGB", (64, 48), colour)).save(root / label / "IMG_1.HEIC")
    items = [i for i in open_source(str(root), None, "image", "label").items if i.name.endswith(".HEIC")]
    assert [int(np.asarray(item.open())[20, 20].argmax()) for item in items] == [0, 2]
