"""Rows that a table lacks, measured later on the same device."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from latency_tables.blocks import Block
from latency_tables.build import journal_path
from latency_tables.devices.runner import Runner
from latency_tables.errors import TableError
from latency_tables.measure import MeasureOptions, Progress, measure_models
from latency_tables.onnx_models import block_model
from latency_tables.store import save_table
from latency_tables.table import LatencyTable, Row


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
    larger = table.with_rows(rows, f"{len(rows)} row(s) were measured later, and scaled as others of their kind")
    save_table(larger, out)
    journal.unlink(missing_ok=True)
    return larger


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
