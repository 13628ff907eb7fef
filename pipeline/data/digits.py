"""The embedded handwritten digits."""

import io
from collections.abc import Callable

from pipeline.data.items import Item, Source

DIGITS = "digits"


def digits() -> Source:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    bundle = load_digits()
    pixels = (bundle.images * (255 / 16)).round().astype(np.uint8)

    def reader(index: int) -> Callable[[], bytes]:
        def read() -> bytes:
            stream = io.BytesIO()
            Image.fromarray(pixels[index]).save(stream, "PNG")
            return stream.getvalue()

        return read

    items = tuple(
        Item(f"digits row {index}", int(label), str(index), reader(index)) for index, label in enumerate(bundle.target)
    )
    return Source(items, (), (), tuple(str(digit) for digit in range(10)), len(items), kind="rows")
