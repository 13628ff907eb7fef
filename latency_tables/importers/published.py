"""What every importer gives, and how it reads its files."""

import math
from dataclasses import dataclass
from pathlib import Path

from latency_tables.blocks import Block
from latency_tables.errors import TableError
from latency_tables.files import read_bounded
from latency_tables.texts import decode_text


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One published figure: a block, the mean of its runs in milliseconds, their deviation, and their number."""

    block: Block
    mean_ms: float
    deviation_ms: float = 0.0
    samples: int = 1


@dataclass(frozen=True, slots=True)
class Published:
    """The rows of published files, how many of their entries no block of ours expresses, and remarks."""

    rows: tuple[PublishedRow, ...]
    left_out: int = 0
    notes: tuple[str, ...] = ()


def read_text(path: Path) -> str:
    """The text of a published file. Raises TableError where it cannot be read."""
    try:
        return decode_text(read_bounded(path, TableError), str(path), TableError)
    except FileNotFoundError:
        raise TableError(f"there is no file {str(path)!r}") from None


def read_number(word: str, path: Path, line: int) -> float:
    """A published figure, 0 or more. Raises TableError with its line for any other word."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise TableError(f"{path}, line {line}: {word!r} is not a number of at least 0")
    return value
