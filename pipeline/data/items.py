"""Labelled images before they are read, and what was found but is not used."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.names import Split

if TYPE_CHECKING:
    from PIL import Image

Content = bytes | str | Path  # an encoded picture, or its file: as a str where there may be very many


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled image. `content` gives its encoded bytes or its file; `group` names what must stay on one side.

    Names sort in the order in which a source reads fastest. `file_bytes` is the size of its file, where it is known.
    """

    name: str
    label: int
    group: str
    content: Callable[[], Content]
    file_bytes: int | None = None

    def open(self) -> "Image.Image":
        """The whole picture, upright (EXIF), eight bits a channel; DataError where it cannot be read."""
        from pipeline.data.pictures import open_picture

        return open_picture(self.name, self.content())


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that was found and is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """Labelled images: those of training, those of splits that the data brings itself (or none), and the classes.

    `found` counts all that is there: the items and everything in `left_out`. `grouped`: groups were asked for.
    """

    items: tuple[Item, ...]
    search_items: tuple[Item, ...]
    test_items: tuple[Item, ...]
    classes: tuple[str, ...]
    found: int
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()
    grouped: bool = False
    kind: str = field(default="files")

    def of(self, split: Split) -> tuple[Item, ...]:
        """The items of one split as the data brings it."""
        return {"train": self.items, "search": self.search_items, "test": self.test_items}[split]
