"""Which pictures may belong together, guessed from their file names: proposed to a person, never assumed."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Final

from pipeline.data.errors import DataError
from pipeline.data.items import Item
from pipeline.data.splits import split_items

_WORDS: Final = "person|subject|patient|user|animal|plant|tree|camera|site|video|clip|scene|session|series|part|unit"
# From the most telling on: a word with a number, what stands before the last separator, the same before the first, a
# day, ten consecutive numbers of a camera.
PATTERNS: Final = (
    rf"(?i)((?:{_WORDS})[-_ ]?\d+)",
    r"^(.+)[-_ ][^-_ ]*$",
    r"^([^-_ ]+)[-_ ]",
    r"((?:19|20)\d\d-?[01]\d-?[0-3]\d)",
    r"^(?:IMG|DSCN?|DSC|PXL|P)[-_]?(\d+)\d",
)
_FEWEST_TOGETHER: Final = 0.5  # share of the pictures that are not alone in their group


@dataclass(frozen=True, slots=True)
class Grouping:
    """A pattern whose first group names the group; how many there are, and the largest with its size."""

    pattern: str
    groups: int
    largest: str
    size: int


def proposed_grouping(items: Sequence[Item], fractions: Sequence[float], classes: Sequence[str]) -> Grouping | None:
    """The first pattern by which the file names fall into groups that can be divided; None where none does.

    `fractions` are the shares of the splits that are cut from the `items`.
    """
    files = [PurePath(item.name).name for item in items]
    for pattern in PATTERNS:
        names = [match[1] for file in files if (match := re.search(pattern, file))]
        if len(names) < len(files):
            continue
        sizes = Counter(names)
        together = sum(size for size in sizes.values() if size > 1)
        if together < _FEWEST_TOGETHER * len(files):
            continue
        grouped = [replace(item, group=name) for item, name in zip(items, names, strict=True)]
        try:
            split_items(grouped, fractions, 0, classes)
        except DataError:
            continue  # a class is one group, say
        largest, size = sizes.most_common(1)[0]
        return Grouping(pattern, len(sizes), largest, size)
    return None
