"""Preparing sets that are too large to be decoded once and kept: they stay encoded."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.data.division import Division
from pipeline.data.encoded import keep_encoded
from pipeline.data.items import Item
from pipeline.data.names import SPLITS, Split
from pipeline.data.prepare import Decoding, finish
from pipeline.progress import Progress

SAMPLE: Final = 1024  # pictures that tell mean, deviation and depth of all
_GIGA: Final = 1_000_000_000


def decoded_gb(division: Division, size: int) -> float:
    """What all pictures take decoded to `size` x `size`, in gigabytes."""
    return sum(map(len, division.parts.values())) * 3 * size**2 / _GIGA


def prepare_encoded(
    division: Division,
    size: int,
    folder: Path,
    progress: Progress | None = None,
    *,
    seen_px: int,
    skip_broken: bool = False,
) -> dict[str, Any]:
    """Write where all pictures are into `folder`; returns the summary in plain values, as `prepare` does.

    Mean, deviation and depth are those of 1,024 pictures from all over the set, which alone are decoded now. With
    `skip_broken` all are, since a picture that cannot be read is found in no other way; it is left out. Raises
    DataError naming those of the decoded ones that cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    looked_at = division if skip_broken else replace(division, parts=_sample(division))
    work = Decoding(looked_at, size, dict.fromkeys(SPLITS, _Nowhere()), progress)
    work.run()
    work.require_readable(skip_broken)
    if skip_broken:
        division = division.without(work.broken_by_split())
    total, done = sum(map(len, division.parts.values())), 0
    for split, items in division.parts.items():
        keep_encoded(items, folder / f"{split}.arrow")
        done += len(items)
        if progress is not None:
            progress(done, total, "listing images")
    told = (
        f"decoded to {size} pixels they would take {decoded_gb(division, size):.3g} GB, so they stay encoded and are"
        " decoded while networks train ([data] decoded_gb); do not move or change them before the run has finished"
    )
    division = replace(division, inventory=division.inventory.with_remarks([told]))
    return finish(division, size, folder, seen_px, work, encoded=True)


def _sample(division: Division) -> dict[Split, list[Item]]:
    step = max(1, -(-sum(map(len, division.parts.values())) // SAMPLE))
    return {split: items[::step] for split, items in division.parts.items()}


class _Nowhere:
    """A sink for pictures that are looked at and not kept."""

    def __setitem__(self, index: int, picture: NDArray[np.uint8]) -> None:
        pass
