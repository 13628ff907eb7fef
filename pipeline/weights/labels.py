"""Names of the published classes, to find a person's classes among them."""

import re
from collections.abc import Sequence
from importlib import resources
from typing import Final

IMAGENET_CLASSES: Final = 1000


def imagenet_names() -> tuple[frozenset[str], ...]:
    """For each of the 1000 classes in their usual order its WordNet id and its names, spelled as `spelled` does."""
    text = resources.files("pipeline.weights").joinpath("imagenet_classes.txt").read_text("utf-8")
    return tuple(_names(line) for line in text.splitlines())


def matching_rows(classes: Sequence[str], published: Sequence[frozenset[str]]) -> dict[int, int]:
    """Index of a class -> index of the one published class that has its name; names that two share match nothing."""
    rows: dict[str, set[int]] = {}
    for index, names in enumerate(published):
        for name in names:
            rows.setdefault(name, set()).add(index)
    found = {index: rows.get(spelled(name), set()) for index, name in enumerate(classes)}
    return {index: next(iter(candidates)) for index, candidates in found.items() if len(candidates) == 1}


def spelled(name: str) -> str:
    """A name without differences of case, underscores and spaces."""
    return re.sub(r"[\s_]+", " ", name).strip().casefold()


def _names(line: str) -> frozenset[str]:
    number, _, lemmas = line.partition("\t")
    return frozenset(map(spelled, [number, *lemmas.split(",")]))
