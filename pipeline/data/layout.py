"""What the folders right below the data's folder are: splits, classes, or neither."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data.errors import DataError, some
from pipeline.data.items import LeftOut
from pipeline.data.metadata import is_metadata
from pipeline.data.names import (
    HEIF,
    OTHER_PICTURES,
    PICTURES,
    Split,
    accepted_splits,
    is_hidden,
    printable,
    split_of,
    splits_in,
    suffix_of,
)
from pipeline.data.pictures import can_read_heif
from pipeline.data.tree import Found, folders_in

HEIF_NEEDS = "HEIC needs the extra: pip install 'pocketnas[heif]'"


@dataclass(frozen=True, slots=True)
class Contents:
    """All files under a folder: pictures that can be read, tables of metadata, and what is left out.

    `unread` are those left out that are pictures to a person, `splits` the first-level folders that name splits.
    """

    root: Path
    pictures: tuple[Found, ...]
    tables: tuple[Found, ...]
    left_out: tuple[LeftOut, ...]
    unread: tuple[Found, ...]
    splits: Mapping[str, Split] = field(default_factory=dict)

    def split(self, parts: Sequence[str]) -> Split | None:
        """The split of a file; None where the folder has splits and the file is in none of them."""
        return self.splits.get(parts[0]) if self.splits else "train"

    def below(self, parts: Sequence[str]) -> Sequence[str]:
        """The parts of a path below its split's folder."""
        return parts[1:] if self.splits else parts

    def folder(self, split: Split) -> Path:
        """The folder that a split's classes are in."""
        return self.root / next((name for name, of in self.splits.items() if of == split), "")


def sort_contents(root: Path, entries: Sequence[Found]) -> Contents:
    """What is what under `root`. Raises DataError where first-level names leave open what is a split."""
    pictures, tables, left_out, unread = [], [], [], []
    heif = can_read_heif()
    for entry in entries:
        suffix = suffix_of(entry.name)
        if is_metadata(entry):
            tables.append(entry)
        elif is_hidden(entry.parts) or entry.problem:
            left_out.append(LeftOut(printable(entry.name), entry.problem or "hidden"))
        elif suffix in PICTURES and (heif or suffix not in HEIF):
            pictures.append(entry)
        else:
            left_out.append(LeftOut(printable(entry.name), _reason(suffix)))
            if suffix in HEIF | OTHER_PICTURES:
                unread.append(entry)
    splits = _splits(root, [*pictures, *unread])
    return Contents(root, tuple(pictures), tuple(tables), tuple(left_out), tuple(unread), splits)


def _reason(suffix: str) -> str:
    if suffix in HEIF:
        return HEIF_NEEDS
    if suffix in OTHER_PICTURES:
        return f"{suffix} is not read"
    return f"{suffix or 'a name without a suffix'} is no picture"


def _splits(root: Path, pictures: Sequence[Found]) -> dict[str, Split]:
    """The folders right below `root` that name splits."""
    holding = Counter(parts[0] for entry in pictures if len(parts := entry.name.split("/", 1)) > 1)
    names = [name for name in folders_in(root) if not is_hidden((name,))]
    splits = {name: split for name in names if (split := split_of(name)) is not None}
    if not splits:
        _refuse_split_like(root, sorted(holding), pictures)
        _refuse_splits_inside(root, sorted(holding), pictures)
        return {}
    if unknown := [printable(name) for name in names if name not in splits and holding[name]]:
        known = [printable(name) for name in splits]
        raise DataError(
            f"{str(root)!r} has folders of splits, {some(known)}, and beside them {some(unknown)}, which"
            f" name(s) none ({accepted_splits()}); rename or move it, or put class folders of such names into 'train'"
        )
    for split, count in Counter(splits.values()).items():
        if count > 1:
            same = [name for name, of in splits.items() if of == split]
            raise DataError(f"{str(root)!r} has {some(same)}, which all name the {split} split; keep one of them")
    if "train" not in splits.values():
        raise DataError(
            f"{str(root)!r} has {some(list(splits))} and no folder of training images ({accepted_splits()})"
        )
    return splits


def _refuse_split_like(root: Path, names: Sequence[str], pictures: Sequence[Found]) -> None:
    """`seg_train/cat` beside `seg_test/cat`: taken for classes, the test images would be trained on."""
    if len(names) < 2 or not all(splits_in(name) for name in names):
        return
    inner = [{e.parts[1] for e in pictures if e.parts[0] == name and len(e.parts) > 2} for name in names]
    if all(inner) and set.intersection(*inner):
        raise DataError(
            f"{str(root)!r} has {some(list(names))} with the same folders inside ({some(sorted(set.union(*inner)))});"
            f" if they are splits, call them so ({accepted_splits()})"
        )


def _refuse_splits_inside(root: Path, names: Sequence[str], pictures: Sequence[Found]) -> None:
    """`cat/train` beside `cat/test`: the test images would be trained on."""
    inner: set[str] = set()
    for entry in pictures:
        if len(parts := entry.name.split("/", 2)) == 2:
            return
        inner.update(parts[1:2])
    if len({split_of(name) for name in inner} - {None}) > 1 and all(map(split_of, inner)):
        raise DataError(
            f"{str(root)!r} has the splits {some(sorted(inner))} inside {some(list(names))}; put splits first:"
            " <split>/<class>/<image>"
        )
