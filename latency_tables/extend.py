"""Rows that a table lacks: measured on the same device, or, said aloud, interpolated between its own."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from latency_tables.blocks import Block
from latency_tables.build import journal_path
from latency_tables.devices.runner import Runner
from latency_tables.errors import TableError
from latency_tables.measure import MeasureOptions, Progress, measure_models
from latency_tables.onnx_models import block_model
from latency_tables.store import save_table
from latency_tables.table import LatencyTable, MissingRows, Row


def extend_table(
    table: LatencyTable,
    blocks: Iterable[Block],
    runner: Runner,
    out: Path,
    options: MeasureOptions,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure those of `blocks` that `table` lacks, on its own device, and write the larger table to `out`.

    A new row adds to a network what rows of its kind do on average; the calibration and its error stay those of
    the networks that were measured. TableError where the device or its runtime is another one.
    """
    missing = table.missing(blocks)
    if differs := table.device.differences(runner.describe()):
        raise TableError(f"the table is of another device or runtime ({differs}); measure a new one instead")
    if not missing:
        save_table(table, out)
        return table
    journal = journal_path(out)
    _, samples = measure_models([block_model(block) for block in missing], runner, journal, options, progress)
    rows = {
        block.key: Row(
            median_ms=samples.median_ms(block.key),
            network_ms=samples.median_ms(block.key) * _factor(table, block),
            spread_percent=round(samples.spread_percent(block.key), 2),
            samples=samples.runs[block.key],
            sessions=len(samples.sessions_ms[block.key]),
            unstable=samples.spread_percent(block.key) > options.unstable_percent,
        )
        for block in missing
    }
    larger = _with_rows(table, rows, f"{len(rows)} row(s) were measured later, and scaled as others of their kind")
    save_table(larger, out)
    journal.unlink(missing_ok=True)
    return larger


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
    return _with_rows(table, rows, *dict.fromkeys(note for _, note in found.values()))


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


def _factor(table: LatencyTable, wanted: Block) -> float:
    """What a row of this kind costs in a network, relative to alone."""
    kinds: list[Sequence[float]] = [
        [
            row.network_ms / row.median_ms
            for key, row in table.rows.items()
            if row.median_ms > 0 and (kind is None or Block.parse(key).kind == kind)
        ]
        for kind in (wanted.kind, None)
    ]
    return median(kinds[0] or kinds[1])


def _with_rows(table: LatencyTable, rows: dict[str, Row], *notes: str) -> LatencyTable:
    provenance = table.provenance.model_copy(update={"notes": [*table.provenance.notes, *notes]})
    return LatencyTable(
        device=table.device,
        calibration=table.calibration,
        error=table.error,
        provenance=provenance,
        rows={**table.rows, **rows},
    )
