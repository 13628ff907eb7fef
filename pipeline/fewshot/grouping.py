"""The best division of a few options into groups, found by trying all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.fewshot.decisions import SplitError

MOST_OPTIONS: Final = 10  # 10 options have 34,105 divisions into 4 groups; 12 would have 611,501


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups of option indices with the total distance of pairs inside the groups and of pairs across them."""

    groups: tuple[tuple[int, ...], ...]
    intra: float
    inter: float

    @property
    def mean_inter(self) -> float:
        """The mean distance of two options of different groups: comparable between decisions of many or few options."""
        sizes = [len(group) for group in self.groups]
        pairs = sum(a * b for a, b in combinations(sizes, 2))
        return self.inter / pairs if pairs else 0.0


def best_grouping(distances: NDArray[np.float64], parts: int) -> Grouping:
    """The division of n options into `parts` non-empty groups with the smallest distance inside the groups.

    `distances` (n, n) is symmetric. Equivalently the largest total across the groups (Hu et al. 2022, "GM-NAS",
    section 3.3). Groups of one are allowed; the first of equally good divisions is taken. Raises SplitError for
    more groups than options, or more options than can be tried.
    """
    n = len(distances)
    if distances.shape != (n, n) or not np.allclose(distances, distances.T):
        raise SplitError(f"distances between options must be a symmetric square, not of shape {distances.shape}")
    if not 1 <= parts <= n:
        raise SplitError(f"{n} options cannot be divided into {parts} groups")
    if n > MOST_OPTIONS:
        raise SplitError(f"{n} options are too many to try every grouping; at most {MOST_OPTIONS}")
    total = float(distances[np.triu_indices(n, 1)].sum())
    best: Grouping | None = None
    for groups in divisions(n, parts):
        intra = sum(float(distances[a, b]) for group in groups for a, b in combinations(group, 2))
        if best is None or intra < best.intra - 1e-12:
            best = Grouping(groups, intra, total - intra)
    if best is None:
        raise RuntimeError("unreachable: every n >= parts >= 1 has a division")
    return best


def divisions(n: int, parts: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every way to divide 0..n-1 into `parts` non-empty groups, each once; groups ordered by their first member."""

    def extend(index: int, groups: list[list[int]]) -> Iterator[tuple[tuple[int, ...], ...]]:
        if parts - len(groups) > n - index:
            return
        if index == n:
            yield tuple(tuple(group) for group in groups)
            return
        for group in groups:
            group.append(index)
            yield from extend(index + 1, groups)
            group.pop()
        if len(groups) < parts:
            groups.append([index])
            yield from extend(index + 1, groups)
            groups.pop()

    yield from extend(0, [])


def named(grouping: Grouping, options: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The groups with the options' names instead of their indices."""
    return tuple(tuple(options[index] for index in group) for group in grouping.groups)


def completed(groups: Sequence[Sequence[str]], options: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """`groups` with those of `options` that they lack, each beside the nearest option that they have."""
    group_of = {option: number for number, group in enumerate(groups) for option in group}
    known = [place for place, option in enumerate(options) if option in group_of]
    whole: list[list[str]] = [[] for _ in groups]
    for place, option in enumerate(options):
        nearest = options[min(known, key=lambda other: abs(other - place))]
        whole[group_of[nearest]].append(option)
    return tuple(map(tuple, whole))
