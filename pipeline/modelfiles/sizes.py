"""Arithmetic of shapes in which a size may be open (None), for formats whose files do not tell every shape."""

import math
from collections.abc import Sequence

from pipeline.modelfiles.errors import Contradiction, ModelFileError
from pipeline.modelfiles.graph import Shape


def broadcast(*shapes: Shape | None) -> Shape | None:
    """The shape of an elementwise result, numpy's rules. Raises ModelFileError where they do not fit."""
    if any(shape is None for shape in shapes):
        return None
    known = [shape for shape in shapes if shape is not None]
    rank = max((len(shape) for shape in known), default=0)
    rows = [(1,) * (rank - len(shape)) + shape for shape in known]
    result: list[int | None] = []
    for sizes in zip(*rows, strict=True):
        fixed = {size for size in sizes if size not in (None, 1)}
        if len(fixed) > 1:
            raise Contradiction(f"shapes {' and '.join(map(str, known))} do not fit each other")
        result.append(fixed.pop() if fixed else None if None in sizes else 1)
    return tuple(result)


def windowed(size: int | None, kernel: int, stride: int, dilation: int = 1, padded: int | None = 0) -> int | None:
    """How many windows fit into `size` values and `padded` further ones; None for padding that loses none ("same")."""
    if size is None:
        return None
    if stride < 1:
        raise ModelFileError(f"a stride is {stride}")
    reach = 0 if padded is None else (kernel - 1) * dilation - padded
    return max(0, -(-(size - reach) // stride))


def reshaped(shape: Shape | None, target: Sequence[int]) -> Shape | None:
    """`target` with its one -1 replaced by what is left of `shape`."""
    if -1 not in target:
        return tuple(target)
    total = None if shape is None or None in shape else math.prod(size or 0 for size in shape)
    others = math.prod(size for size in target if size != -1)
    if total is None or not others or target.count(-1) > 1:
        rest = None
    elif total % others:
        raise Contradiction(f"{list(shape or ())} cannot become {list(target)}")
    else:
        rest = total // others
    return tuple(rest if size == -1 else size for size in target)


def reduced(shape: Shape | None, axes: Sequence[int], keep: bool) -> Shape | None:
    """Without the given axes, or with 1 in their places."""
    if shape is None:
        return None
    gone = {axis % len(shape) for axis in axes} if shape else set()
    sizes = [1 if place in gone else size for place, size in enumerate(shape)]
    return tuple(size for place, size in enumerate(sizes) if keep or place not in gone)


def joined(shapes: Sequence[Shape | None], axis: int) -> Shape | None:
    """Concatenated along an axis."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes) or not known or not known[0]:
        return None
    axis %= len(known[0])
    parts = [shape[axis] for shape in known]
    total = None if None in parts else sum(part or 0 for part in parts)
    return (*known[0][:axis], total, *known[0][axis + 1 :])


def replaced(shape: Shape | None, axis: int, size: int | None) -> Shape | None:
    """With another size at an axis."""
    if shape is None or not shape:
        return None
    axis %= len(shape)
    return (*shape[:axis], size, *shape[axis + 1 :])


def product(one: Shape | None, two: Shape | None, turn_one: bool = False, turn_two: bool = False) -> Shape | None:
    """Of (batches of) matrices."""
    if one is None or two is None or len(one) < 2 or len(two) < 2:
        return None
    batch = broadcast(one[:-2], two[:-2])
    return None if batch is None else (*batch, one[-1 if turn_one else -2], two[-2 if turn_two else -1])


def sliced(size: int | None, begin: int | None, end: int | None, step: int) -> int | None:
    """How many values Python's slice takes of so many."""
    if size is None or step == 0:
        return None
    return len(range(*slice(begin, end, step).indices(size)))


def stacked(shape: Shape, axis: int, count: int) -> Shape:
    """With a new axis of `count` values."""
    axis %= len(shape) + 1
    return (*shape[:axis], count, *shape[axis:])


def divided(shape: Shape, axis: int, parts: int) -> Shape | None:
    """Of each of `parts` equal pieces along an axis."""
    size = shape[axis]
    return replaced(shape, axis, None if size is None else size // parts)


def cut(shape: Shape, begins: Sequence[int], sizes: Sequence[int]) -> Shape:
    """From `begins` on so many values along each axis; -1 takes the rest."""
    taken = zip(shape, begins, sizes, strict=True)
    return tuple(size if size != -1 else None if whole is None else whole - begin for whole, begin, size in taken)


def padded(shape: Shape, pads: Sequence[int]) -> Shape:
    """With so many further values before and after each axis, in turns."""
    pairs = zip(shape, pads[::2], pads[1::2], strict=True)
    return tuple(None if size is None else size + before + after for size, before, after in pairs)


def tiled(shape: Shape, times: Sequence[int]) -> Shape:
    """Repeated so many times along each axis."""
    return tuple(None if size is None else size * each for size, each in zip(shape, times, strict=True))
