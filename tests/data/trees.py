"""Made folders of pictures."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: str, size: tuple[int, int] = (9, 8), form: str = "PNG") -> bytes:
    """An encoded picture that no other seed has."""
    noise = np.random.default_rng(list(seed.encode())).integers(0, 256, (size[1], size[0], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, form)
    return stream.getvalue()


def make_tree(root: Path, counts: Mapping[str, int], others: Iterable[str] = ()) -> Path:
    """`root` with so many pictures in each folder (`{"train/cat": 4}`) and further files: pictures by their suffix."""
    root.mkdir(parents=True, exist_ok=True)
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            (root / folder / f"{index}.png").write_bytes(picture(f"{folder}/{index}"))
    for name in others:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = name.lower().endswith((".png", ".jpg", ".jfif"))
        (root / name).write_bytes(picture(name) if pixels else name.encode())
    return root
