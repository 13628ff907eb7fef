"""Reading one picture: safe formats only, bounded in memory, upright, eight bits a channel."""

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.data.errors import DataError
from pipeline.data.items import Content
from pipeline.errors import first_line

if TYPE_CHECKING:
    from PIL import Image

MOST_MEGAPIXELS: Final = 50
BIG_MEGAPIXELS: Final = 12  # beyond it, pictures are decoded one at a time
# What Pillow decodes by itself; others would start programs (EPS) or are no photographs.
_FORMATS: Final = ("JPEG", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "AVIF", "PPM", "JPEG2000")
_DEPTHS: Final = (8, 10, 12, 14, 16)
_DARK: Final = 16  # what 12 bits of colour reach when 16 bits are cut down to their upper 8


@dataclass(frozen=True, slots=True)
class Deep:
    """A picture of more than eight bits a channel, whose scale all pictures of a set must share; its largest value."""

    peak: int


def can_read_heif() -> bool:
    """Whether `pillow-heif` (the extra `heif`) is there to read HEIC."""
    from importlib.util import find_spec

    return find_spec("pillow_heif") is not None


def depth_of(peak: int) -> int:
    """The bits that a camera with values up to `peak` has: 12 for 4,000. Raises DataError beyond 16."""
    for bits in _DEPTHS:
        if peak < 2**bits:
            return bits
    raise DataError(f"pixel values reach {peak:,}; at most 65,535 (16 bits) can be scaled")


def open_picture(name: str, content: Content, depth: int | None = None) -> "Image.Image":
    """The whole picture as RGB, upright by its EXIF orientation.

    More than eight bits a channel are taken as `depth` bits, by default as its own largest value suggests.
    Raises DataError naming a picture that cannot be read or has too many pixels.
    """
    picture = _read(name, content, None, depth)
    if isinstance(picture, Deep):
        picture = _read(name, content, None, depth_of(picture.peak))
    return cast("Image.Image", picture)


def square(name: str, content: Content, size: int, depth: int | None) -> NDArray[np.uint8] | Deep:
    """The middle of a picture as uint8 (size, size, 3), upright; Deep where it needs a `depth` and none is given.

    Raises DataError as `open_picture` does.
    """
    picture = _read(name, content, size, depth)
    return picture if isinstance(picture, Deep) else np.asarray(picture, dtype=np.uint8)


def shape(content: Content) -> tuple[int, int] | None:
    """Width and height from the header, None where it cannot be read."""
    try:
        with _opened(content) as image:
            return image.size
    except Exception:  # as in `_read`
        return None


def _read(name: str, content: Content, size: int | None, depth: int | None) -> Any:
    from PIL import Image, ImageOps

    try:
        with _opened(content) as image:
            _require_size(*image.size)
            cut = not image.mode.startswith(("I", "F")) and ";16" in str(
                getattr(image, "tile", "")
            )  # to the upper eight bits
            turn = _turn(image)
            if size is not None:
                image.draft(None, (2 * size, 2 * size))  # JPEG: decode at an eighth, a quarter or half where enough
            image.load()
            plain = _eight_bits(image, depth)
            if isinstance(plain, Deep):
                return plain
            if cut and 0 < int(np.asarray(plain).max()) < _DARK:
                raise ValueError("its 16-bit colours use 12 bits at most and would turn black; scale them up")
            if size is not None and plain.size != (size, size):
                plain = ImageOps.fit(plain, (size, size), Image.Resampling.BICUBIC)
            return (plain if turn is None else plain.transpose(turn)).convert("RGB")
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\((\d+) pixels", str(error))
        told = f"has {int(pixels[1]) / 1e6:.0f} megapixels" if pixels else "has too many pixels"
        raise DataError(f"image {name!r} cannot be read: it {told}; at most {MOST_MEGAPIXELS}") from None
    except Exception as error:  # a hostile file makes decoders raise nearly anything
        raise DataError(f"image {name!r} cannot be read: {first_line(error)}") from None


def _opened(content: Content) -> "Image.Image":
    from PIL import Image

    formats = list(_FORMATS)
    if can_read_heif():
        import pillow_heif

        pillow_heif.register_heif_opener()
        formats.append("HEIF")
    if not isinstance(content, bytes) and not Path(content).is_file():
        raise ValueError("it is no file")
    return Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=formats)


def _require_size(width: int, height: int) -> None:
    if width * height > MOST_MEGAPIXELS * 1_000_000:
        raise ValueError(f"it has {width * height / 1e6:.0f} megapixels; at most {MOST_MEGAPIXELS}")


def _turn(image: "Image.Image") -> "Image.Transpose | None":
    """What makes the picture upright, by its EXIF orientation."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        return turns.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF does not make the pixels unreadable
        return None


def _eight_bits(image: "Image.Image", depth: int | None) -> "Image.Image | Deep":
    """RGB or grey of eight bits. Greys of more are scaled from `depth` bits; Pillow would clip them to white."""
    from PIL import Image

    if image.mode in ("RGB", "L"):
        return image
    if image.mode == "F":
        raise ValueError("it has floating-point pixels; save it with 8 or 16 bits a channel")
    if not image.mode.startswith("I"):
        return image.convert("RGB")
    grey = np.asarray(image)
    low, peak = int(grey.min()), int(grey.max())
    if low < 0:
        raise ValueError(f"it has negative pixels ({low}); save it with 8 or 16 bits a channel")
    if depth is None:
        depth_of(peak)
        return Deep(peak)
    scaled = np.empty(grey.shape, np.uint8)
    for row, values in enumerate(grey):  # row by row: the whole would need four times the memory
        scaled[row] = np.minimum(values.astype(np.uint32) * 255 // (2**depth - 1), 255)
    return Image.fromarray(scaled)
