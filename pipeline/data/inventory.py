"""What was found, what of it is used for what, and what is left out and why: the account of a data set."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pipeline.data.items import LeftOut
from pipeline.data.names import SPLITS, Split

_EXAMPLES: Final = 10
_IMBALANCE: Final = 10  # times as many images of one class as of another


@dataclass(frozen=True, slots=True)
class Inventory:
    """`found` is what the source says is there: everything used plus everything left out.

    `used` maps splits to images by class, `own` are the splits that the data brings itself.
    """

    found: int
    kind: str
    used: Mapping[Split, Mapping[str, int]]
    own: Sequence[Split]
    left_out: Sequence[LeftOut]
    remarks: Sequence[str] = ()

    def with_remarks(self, remarks: Sequence[str]) -> "Inventory":
        """The same account with more remarks."""
        return replace(self, remarks=[*self.remarks, *remarks])

    def document(self) -> dict[str, Any]:
        """The account in plain values, for the data summary."""
        return {
            "found": self.found,
            "kind": self.kind,
            "used": {split: dict(classes) for split, classes in self.used.items()},
            "own_splits": list(self.own),
            "left_out": [
                {"reason": reason, "count": count, "first": self._examples(reason)}
                for reason, count in Counter(left.reason for left in self.left_out).most_common()
            ],
            "remarks": list(self.remarks),
        }

    def _examples(self, reason: str) -> list[str]:
        return [left.name for left in self.left_out if left.reason == reason][:_EXAMPLES]


def inventory_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The account for a person, from `Inventory.document`."""
    used = {split: document["used"][split] for split in SPLITS}
    total = sum(sum(classes.values()) for classes in used.values())
    yield (
        f"images: {total:,} used of {document['found']:,} {document['kind']} in {len(used['train'])} classes; "
        + ", ".join(
            f"{split} {sum(classes.values()):,}{' (as the data has it)' if split in document['own_splits'] else ''}"
            for split, classes in used.items()
        )
    )
    for left in document["left_out"]:
        first = ", ".join(repr(name) for name in left["first"][:3])
        more = ", …" if left["count"] > 3 else ""
        yield f"  left out: {left['count']:,}, {left['reason']}: {first}{more}"
    for remark in document["remarks"]:
        yield f"  {remark}"


def class_remarks(used: Mapping[Split, Mapping[str, int]]) -> Iterator[str]:
    """What is odd about the classes: far more images of one than of another, none in a split."""
    train = used["train"]
    most, fewest = max(train, key=lambda name: train[name]), min(train, key=lambda name: train[name])
    if train[fewest] and train[most] >= _IMBALANCE * train[fewest]:
        yield (
            f"class {most!r} has {train[most]:,} training images and {fewest!r} {train[fewest]:,},"
            f" {train[most] / train[fewest]:.0f} times fewer: rare classes are learnt and judged badly"
        )
    for split in SPLITS[1:]:
        if none := [name for name in train if not used[split].get(name)]:
            told = ", ".join(repr(name) for name in none[:_EXAMPLES])
            yield f"the {split} split has no image of {told}{' and others' if len(none) > _EXAMPLES else ''}"
