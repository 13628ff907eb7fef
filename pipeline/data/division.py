"""A source -> three splits that share no picture, and the account of it."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.data.duplicates import content_digests
from pipeline.data.errors import DataError, some
from pipeline.data.inventory import Inventory, class_remarks
from pipeline.data.items import Item, LeftOut, Source
from pipeline.data.names import SPLITS, Split
from pipeline.data.splits import split_items
from pipeline.process import without_collector


@dataclass(frozen=True, slots=True)
class Division:
    """The items of each split, and the account of all that was found."""

    parts: Mapping[Split, list[Item]]
    classes: tuple[str, ...]
    inventory: Inventory

    def without(self, broken: Mapping[Split, Mapping[int, str]]) -> "Division":
        """The division without the items at these places, which are left out for these reasons."""
        parts = {
            split: [item for index, item in enumerate(items) if index not in broken[split]]
            for split, items in self.parts.items()
        }
        left = [LeftOut(self.parts[s][index].name, why) for s, of in broken.items() for index, why in of.items()]
        used = _used(parts, self.classes)
        if empty := [name for name, count in used["train"].items() if not count]:
            raise DataError(f"no training image of class {some(empty)} can be read")
        inventory = replace(self.inventory, used=used, left_out=[*self.inventory.left_out, *left])
        return Division(parts, self.classes, inventory)


@without_collector()
def divide(
    source: Source, search_fraction: float, test_fraction: float, seed: int, limit: int | None = None
) -> Division:
    """The items of each split; search and test splits that the source brings are kept as they are.

    A picture that is in two of the source's own splits stays in test, else in search; copies inside a split stay on
    one side. `limit` caps each split, class by class, for quick looks at large data.
    Raises DataError for classes with too few images, and for a group on both sides of a split of the source's own.
    """
    _refuse_shared_groups(source)
    own = {split: list(source.of(split)) for split in SPLITS}
    if limit is not None and limit < len(source.classes):
        raise DataError(f"[data] limit = {limit} is below the {len(source.classes)} classes; each needs an image")
    own, left_out, remarks = _apart(own, source.classes)
    _require_own_pictures(own, source)
    missing = {s: f for s, f in (("search", search_fraction), ("test", test_fraction)) if not source.of(_split(s))}
    cut = split_items(own["train"], list(missing.values()), seed, source.classes)
    parts = {**own, **dict(zip(map(_split, ("train", *missing)), cut, strict=True))}
    if limit is not None:
        kept = {split: _limited(items, limit, seed, len(source.classes)) for split, items in parts.items()}
        for split, items in parts.items():
            names = {item.name for item in kept[split]}
            left_out += [LeftOut(item.name, "over [data] limit") for item in items if item.name not in names]
        parts = kept
    used = _used(parts, source.classes)
    inventory = Inventory(
        source.found,
        source.kind,
        used,
        [split for split in SPLITS[1:] if source.of(split)],
        [*source.left_out, *left_out],
        [*source.remarks, *remarks, *class_remarks(used)],
    )
    return Division(parts, source.classes, inventory)


def _split(name: str) -> Split:
    return next(split for split in SPLITS if split == name)


def _used(parts: Mapping[Split, Sequence[Item]], classes: Sequence[str]) -> dict[Split, dict[str, int]]:
    counts = {split: Counter(item.label for item in items) for split, items in parts.items()}
    return {split: {name: counts[split][label] for label, name in enumerate(classes)} for split in SPLITS}


def _apart(
    own: Mapping[Split, list[Item]], classes: Sequence[str]
) -> tuple[dict[Split, list[Item]], list[LeftOut], list[str]]:
    """Splits without each other's pictures; copies in training share a group. Also what is left out, and remarks."""
    everything = [(split, item) for split in reversed(SPLITS) for item in own[split]]
    digests = content_digests([item for _, item in everything])
    seen: dict[str, tuple[Split, Item]] = {}
    kept: dict[Split, list[Item]] = {split: [] for split in SPLITS}
    left_out: list[LeftOut] = []
    copies: list[tuple[Item, Item]] = []
    for (split, item), digest in zip(everything, digests, strict=True):
        first_split, first = (split, item) if digest is None else seen.setdefault(digest, (split, item))
        if first is not item:
            copies.append((first, item))
        if first_split == split:
            kept[split].append(item)
        else:
            left_out.append(LeftOut(item.name, f"the same picture as one of the {first_split} split"))
    inside = [(first, item) for first, item in copies if item.group != first.group]
    kept["train"] = _joined(kept["train"], [(a.group, b.group) for a, b in inside])
    return kept, left_out, list(_copy_remarks(copies, classes))


def _require_own_pictures(kept: Mapping[Split, Sequence[Item]], source: Source) -> None:
    """Refuse data whose own splits share all pictures of a class."""
    for split in SPLITS:
        labels = {item.label for item in source.of(split)} - {item.label for item in kept[split]}
        if labels:
            raise DataError(
                f"all images of class {source.classes[min(labels)]!r} in the {split} split are byte by byte those of"
                " another split of the data; splits must have pictures of their own"
            )


def _joined(items: list[Item], pairs: Sequence[tuple[str, str]]) -> list[Item]:
    """The items with groups joined that share a picture."""
    if not pairs:
        return items
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while (above := parent.get(group, group)) != group:
            group = above
        return group

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        if low != high:
            parent[high] = low
    return [item if root(item.group) == item.group else replace(item, group=root(item.group)) for item in items]


def _copy_remarks(copies: Sequence[tuple[Item, Item]], classes: Sequence[str]) -> Iterator[str]:
    if copies:
        first, item = copies[0]
        yield (
            f"{len(copies):,} picture(s) are copies of others byte by byte, such as {item.name!r} of {first.name!r};"
            " copies stay on one side"
        )
    contrary = [(first, item) for first, item in copies if first.label != item.label]
    if contrary:
        first, item = contrary[0]
        yield (
            f"{len(contrary):,} picture(s) are in two classes, such as {first.name!r} ({classes[first.label]}) and"
            f" {item.name!r} ({classes[item.label]})"
        )


def _refuse_shared_groups(source: Source) -> None:
    """A group on both sides of a split that the data brings would leak."""
    if not source.grouped:
        return
    sides: dict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        for item in source.of(split):
            sides[item.group].add(split)
    if shared := sorted(group for group, splits in sides.items() if len(splits) > 1):
        raise DataError(
            f"group {shared[0]!r} ([data] group) is in the {' and the '.join(sorted(sides[shared[0]]))} split of the"
            f" data, as are {len(shared) - 1} others in two; mend the data's own test split or leave [data] group out"
        )


def _limited(items: Sequence[Item], limit: int, seed: int, classes: int) -> list[Item]:
    """At most `limit` items, the same number of each class where there are enough."""
    order = list(items)
    random.Random(seed).shuffle(order)
    taken: Counter[int] = Counter()
    quota = -(-limit // classes)
    kept: list[Item] = []
    for item in order:
        if taken[item.label] < quota and len(kept) < limit:
            taken[item.label] += 1
            kept.append(item)
    return sorted(kept, key=lambda item: item.name)
