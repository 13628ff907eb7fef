"""Tables as files: those shipped beside this module, and those a user measures."""

import difflib
import json
from importlib import resources
from pathlib import Path
from typing import Any

from latency_tables.errors import TableError
from latency_tables.files import read_bounded, write_atomic
from latency_tables.table import LatencyTable, parse_table
from latency_tables.texts import decode_text


def shipped_names() -> tuple[str, ...]:
    """The names of the tables that come with pocketnas."""
    files = resources.files("latency_tables").joinpath("shipped").iterdir()
    return tuple(sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json")))


def load_table(name: str | Path) -> LatencyTable:
    """The shipped table of that name, or the one in the file at that path.

    Raises TableError: no such table (with the names that there are), or the entry that is wrong.
    """
    if str(name) in shipped_names():
        file = resources.files("latency_tables").joinpath("shipped", f"{name}.json")
        return parse_table(file.read_text(encoding="utf-8"), str(name))
    path = Path(name)
    if not path.is_file():
        names = shipped_names()
        close = difflib.get_close_matches(str(name), names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise TableError(
            f"no latency table {str(name)!r}: it is neither a file nor a shipped table ({', '.join(names)}){hint}"
        )
    return parse_table(decode_text(read_bounded(path, TableError), str(path), TableError), str(path))


def save_table(table: LatencyTable, path: Path) -> None:
    """Write `table` so that it diffs well: one line per row, rows sorted by block. Raises OSError."""
    write_atomic(path, table_text(table).encode())


def table_text(table: LatencyTable) -> str:
    """The JSON text of a table file."""
    document = table.model_dump(mode="json")
    rows = document.pop("rows")
    # What is not known of a device is left out: a table that is older than a field keeps its text, and its hash.
    document["device"] = {name: value for name, value in document["device"].items() if value is not None}
    head = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    lines = [
        f"  {json.dumps(key)}: {json.dumps(_shown(rows[key]), sort_keys=True, allow_nan=False)}" for key in sorted(rows)
    ]
    body = ",\n".join(lines)
    return head.removesuffix("\n}") + ',\n "rows": {\n' + body + "\n }\n}\n"


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the flags that it does not have."""
    return {name: value for name, value in row.items() if value is not False}
