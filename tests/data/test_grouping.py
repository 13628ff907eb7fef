"""Groups proposed from file names: only where the pictures could be divided by them."""

from pathlib import Path

import pytest

from pipeline.data.grouping import proposed_grouping
from pipeline.data.items import Item


def items(names: list[str]) -> list[Item]:
    """Pictures in two classes, in turn."""
    return [Item(f"{'ab'[n % 2]}/{name}", n % 2, name, lambda: Path("none")) for n, name in enumerate(names)]


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        ([f"{who}_{n}.jpg" for who in ("ann", "bob", "eve", "tom", "zoe", "max") for n in range(4)], 6),
        ([f"x_{who}_{n}.jpg" for who in ("ann", "bob", "eve", "tom", "zoe", "max") for n in range(4)], 6),
        ([f"leaf-plant{p:02}-{n}.jpg" for p in range(6) for n in range(4)], 6),
        ([f"IMG_{n}.JPG" for n in range(1000, 1060)], 6),
        ([f"2024{month:02}01_{n}.jpg" for month in range(1, 7) for n in range(4)], 6),
        ([f"{n}.jpg" for n in range(60)], None),  # nothing to tell
        ([f"{n:08x}.jpg" for n in range(60)], None),
        (["ann_1.jpg"] * 20 + ["odd.jpg"], None),  # not every name
        ([f"{'ab'[n % 2]}_{n}.jpg" for n in range(20)], None),  # the class itself: it cannot be divided
    ],
)
def test_a_pattern_is_proposed_where_it_divides(names: list[str], groups: int | None) -> None:
    found = proposed_grouping(items(names), (0.15, 0.2), ("a", "b"))
    assert (found.groups if found else None) == groups
