"""FBNet: a text table of microseconds, one line per layer, one column per operator."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Final

from latency_tables.blocks import Block
from latency_tables.errors import TableError
from latency_tables.importers.published import Published, PublishedRow, read_number, read_text

# Layers, input size, channels before and after, stride of the first (FBNet, Wu et al. 2019, table 1).
_STAGES: Final = (
    (1, 112, 16, 16, 1),
    (4, 112, 16, 24, 2),
    (4, 56, 24, 32, 2),
    (4, 28, 32, 64, 2),
    (4, 14, 64, 112, 1),
    (4, 14, 112, 184, 2),
    (1, 7, 184, 352, 1),
)


def import_fbnet(files: Sequence[Path]) -> Published:
    """FBNet's table of 22 layers x 9 operators. Layers of one shape are one block: the median of their figures."""
    if len(files) != 1:
        raise TableError(f"an FBNet table is one file, not {len(files)}")
    operators, lines = _lines(files[0])
    figures: dict[Block, list[float]] = {}
    left_out = 0
    for shape, values in zip(_layers(), lines, strict=True):
        for operator, microseconds in zip(operators, values, strict=True):
            block = _block(operator, *shape, path=files[0])
            if block is None:
                left_out += 1
            else:
                figures.setdefault(block, []).append(microseconds / 1000)
    rows = tuple(
        PublishedRow(block, median(values), _deviation(values), len(values)) for block, values in figures.items()
    )
    notes = (
        "layers of one shape are one row: the median of their figures, with their deviation as its spread",
        "left out: group convolutions, and identities (a skipped layer is no block)",
        "FBNet expands with a 1x1 convolution at ratio 1 too; its figures for those rows contain it",
    )
    return Published(rows, left_out, notes)


def _lines(path: Path) -> tuple[list[str], list[list[float]]]:
    header, *lines = [line.split() for line in read_text(path).splitlines() if line.strip()] or [[]]
    layers = len(_layers())
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise TableError(f"{path} has the operator {twice[0]!r} in two columns")
    if len(lines) != layers or not header or any(len(line) != len(header) for line in lines):
        raise TableError(
            f"{path} is not an FBNet table: it needs a line of operator names, then {layers} lines with as many "
            f"microseconds; it has {len(lines)} lines"
        )
    return header, [[read_number(word, path, n) for word in line] for n, line in enumerate(lines, 2)]


def _layers() -> list[tuple[int, int, int, int]]:
    """Input size, channels before and after, and stride of each layer in order."""
    layers = []
    for count, size, before, after, stride in _STAGES:
        layers.append((size, before, after, stride))
        layers += [(-(-size // stride), after, after, 1)] * (count - 1)
    return layers


def _block(operator: str, size: int, before: int, after: int, stride: int, path: Path) -> Block | None:
    """The block of an FBNet operator, None where no block of ours is that."""
    residual = stride == 1 and before == after
    if operator == "skip":
        return None if residual else Block("conv", size, before, after, 1, stride, activation="relu")
    match = re.fullmatch(r"ir_k(\d+)_([es])(\d+)", operator)
    if match is None:
        raise TableError(
            f"{path}: operator {operator!r} is unknown; known are skip and ir_k<kernel>_e<ratio>|s<groups>"
        )
    if match[2] == "s":
        return None
    mid = before * int(match[3])
    return Block("mbconv", size, before, after, int(match[1]), stride, mid, 0, "relu", residual)


def _deviation(values: Sequence[float]) -> float:
    return math.sqrt(fmean((value - fmean(values)) ** 2 for value in values))
