"""Classifiers of class counts that a table lacks: said aloud, interpolated between its own rows."""

from collections.abc import Iterable
from dataclasses import replace

from latency_tables.blocks import Block
from latency_tables.table import LatencyTable, MissingRows, Row


def with_interpolated_classifiers(table: LatencyTable, blocks: Iterable[Block]) -> LatencyTable:
    """`table` with rows for classifiers of other class counts, which need not be measured for everybody's images.

    Between two measured counts a row lies on their line. Below the smallest one (a published table has 1,000
    classes only) it is that row in proportion: no less, as a call costs something beside, and no more than that row.
    The rows say that they are no measurements, and the provenance with which bounds. Raises MissingRows for anything
    else that `blocks` need: other kinds, or more classes than were measured.
    """
    missing = table.missing(blocks)
    found = {block: estimate for block in missing if (estimate := _estimate(table, block)) is not None}
    if left := [block for block in missing if block not in found]:
        raise MissingRows(table.device.name, left)
    if not found:
        return table
    rows = {block.key: row for block, (row, _) in found.items()}
    return table.with_rows(rows, *dict.fromkeys(note for _, note in found.values()))


def _estimate(table: LatencyTable, wanted: Block) -> tuple[Row, str] | None:
    """A row for a classifier, and where it is from in words; None where nothing measured encloses it."""
    if wanted.kind != "linear":
        return None
    known = {
        block.out_channels: row
        for key, row in table.rows.items()
        if not row.interpolated and _differs_in_classes(block := Block.parse(key), wanted)
    }
    few = max((classes for classes in known if classes < wanted.out_channels), default=None)
    many = min((classes for classes in known if classes > wanted.out_channels), default=None)
    if many is None:
        return None
    low = known[few] if few is not None else Row(median_ms=0.0, network_ms=0.0)
    high = known[many]
    share = (wanted.out_channels - (few or 0)) / (many - (few or 0))
    row = Row(
        median_ms=low.median_ms + share * (high.median_ms - low.median_ms),
        network_ms=low.network_ms + share * (high.network_ms - low.network_ms),
        interpolated=True,
    )
    what = f"the classifier of {wanted.out_channels} classes is interpolated, not measured"
    if few is not None:
        return row, what
    least, most = row.network_ms, high.network_ms
    return row, f"{what}: that of {many} classes in proportion, {least:.3g} ms; at most {most:.3g} ms"


def _differs_in_classes(block: Block, wanted: Block) -> bool:
    return block.kind == "linear" and replace(block, out_channels=wanted.out_channels) == wanted
