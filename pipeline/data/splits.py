"""Which images train, which judge the search, and which are kept for the one final test."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from pipeline.data.errors import DataError
from pipeline.data.items import Item

_TOLD: Final = 10


def split_items(
    items: Sequence[Item], fractions: Sequence[float], seed: int, class_names: Sequence[str]
) -> list[list[Item]]:
    """Divide `items` into len(fractions) + 1 parts, the first taking what the fractions leave.

    Groups stay whole. Every part gets its share of each class as nearly as whole groups allow: groups are
    dealt in random order, largest first, each to the part that lacks most of that group's classes.
    Raises DataError for a class with fewer images (or groups) than there are parts.
    """
    number = len(fractions) + 1
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.group].append(item)
    _require_enough(items, number, class_names)
    per_class = Counter(item.label for item in items)
    # However rare a class is, each of the smaller parts gets one of it.
    smaller = [{label: max(1.0, share * count) for label, count in per_class.items()} for share in fractions]
    first = {label: count - sum(part[label] for part in smaller) for label, count in per_class.items()}
    wanted = [first, *smaller]
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -len(groups[name]))
    parts: list[list[Item]] = [[] for _ in range(number)]
    for name in order:
        members = groups[name]
        if len(members) == 1:  # without the sum, for hundreds of thousands of them
            label = members[0].label
            need = [part[label] / per_class[label] for part in wanted]
        else:
            need = [sum(part[item.label] / per_class[item.label] for item in members) for part in wanted]
        chosen = need.index(max(need))
        parts[chosen].extend(members)
        for item in members:
            wanted[chosen][item.label] -= 1
    for index, part in enumerate(parts):
        present = {item.label for item in part}
        if missing := sorted(set(per_class) - present):
            raise DataError(
                f"class {class_names[missing[0]]!r} has too few groups to be in all {len(parts)} splits"
                f" (split {index + 1} got none); give it more groups, or a finer [data] group"
            )
    return [sorted(part, key=attrgetter("name")) for part in parts]


def _require_enough(items: Sequence[Item], parts: int, class_names: Sequence[str]) -> None:
    images = Counter(item.label for item in items)
    groups = Counter(label for label, _ in {(item.label, item.group) for item in items})
    few = [(name, images[label]) for label, name in enumerate(class_names) if images[label] < parts]
    alike = [(name, groups[label]) for label, name in enumerate(class_names) if groups[label] < parts]
    needed = f"at least {parts} are needed, one for each split that is cut from the training images"
    if few:
        told = ", ".join(f"class {name!r} has {count} image(s)" for name, count in few[:_TOLD])
        more = f" and {len(few) - _TOLD} more classes have too few" if len(few) > _TOLD else ""
        raise DataError(f"{told}{more}; {needed}")
    if alike:
        name, count = alike[0]
        raise DataError(
            f"class {name!r} has too few groups: its images are {count} different one(s), where those of one [data]"
            f" group and copies of one picture count once; {needed}; give more pictures, or a finer [data] group"
        )
