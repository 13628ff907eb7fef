"""Every published format that a table can be imported from."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from latency_tables.build import provenance_now
from latency_tables.documents import first_error
from latency_tables.errors import TableError
from latency_tables.importers.fbnet import import_fbnet
from latency_tables.importers.keyed import import_ofa, import_proxylessnas
from latency_tables.importers.published import Published, PublishedRow
from latency_tables.table import Calibration, DeviceInfo, LatencyTable, Row

IMPORTERS: Final[dict[str, Callable[[Sequence[Path]], Published]]] = {
    "ofa": import_ofa,
    "proxylessnas": import_proxylessnas,
    "fbnet": import_fbnet,
}


def import_table(files: Sequence[Path], table_format: str, device: str) -> tuple[LatencyTable, int]:
    """The table of `device` in published `files`, and how many of their entries were left out.

    `table_format` is a key of IMPORTERS. Several files are several input resolutions of one table.
    Raises TableError: unknown format, unreadable file, an entry that is not of the format (with its line).
    """
    if table_format not in IMPORTERS:
        raise TableError(f"format {table_format!r} is unknown; accepted are {', '.join(IMPORTERS)}")
    if not files:
        raise TableError("no file to import")
    if not device.strip():
        raise TableError(f"the device's name is {device!r}; a table needs to say what it is of")
    published = IMPORTERS[table_format](files)
    rows = {row.block.key: _row(row) for row in published.rows}
    notes = [*published.notes, "the published figures are means, and their spread is computed from the deviation"]
    names = ", ".join(file.name for file in files)
    table = LatencyTable(
        device=DeviceInfo(name=device, runtime="unknown"),
        calibration=Calibration(method="none"),
        provenance=provenance_now(f"imported from {names} ({table_format})", notes=notes),
        rows=rows,
    )
    return table, published.left_out


def _row(row: PublishedRow) -> Row:
    # The published deviation as the range of the middle half of a normal distribution.
    spread_percent = round(134.9 * row.deviation_ms / row.mean_ms, 2) if row.mean_ms else 0.0
    try:
        return Row(
            median_ms=row.mean_ms,
            network_ms=row.mean_ms,
            spread_percent=spread_percent,
            samples=row.samples,
            sessions=0,
        )
    except ValidationError as error:
        raise TableError(f"{row.block.key}: {first_error(error, Row)}") from None
