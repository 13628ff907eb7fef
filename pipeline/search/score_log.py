"""Scores that are never computed twice: one JSON line for each network, appended, read on by whoever else writes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from latency_tables.documents import parse_json
from latency_tables.files import append_lines
from pipeline.errors import PipelineError

_MOST_BYTES: Final = 256 << 20
Numbers = Mapping[str, float]


class ScoreLog:
    """The numbers known of networks by their spelling. Processes may append to one file at the same time.

    A line that a kill cut short, or that is no entry, is passed over: its network is judged again.
    """

    def __init__(self, file: Path, *names: str) -> None:
        """`names` are the numbers that an entry must have. Nothing is read yet."""
        self._file, self._names = file, names
        self._known: dict[str, Numbers] = {}
        self._read = 0  # bytes

    def known(self) -> Mapping[str, Numbers]:
        """Every entry of the file; only what was added since the last call is read."""
        if not self._file.exists():
            return self._known
        with self._file.open("rb") as stream:
            stream.seek(self._read)
            added = stream.read(_MOST_BYTES)
        for line in added.splitlines():
            self._take(line)
        # The last line may still be growing; it is read again.
        self._read += added.rfind(b"\n") + 1
        return self._known

    def add(self, entries: Mapping[str, Numbers]) -> None:
        """Append entries, each as one line that begins at a line's beginning. Raises OSError.

        Numbers that are not finite are known to this process only.
        """
        self._known.update(entries)
        lines = [
            json.dumps({"arch": arch, **numbers}) + "\n"
            for arch, numbers in entries.items()
            if all(map(math.isfinite, numbers.values()))
        ]
        append_lines(self._file, "".join(lines).encode())

    def _take(self, line: bytes) -> None:
        try:
            entry = parse_json(line, "", PipelineError)
            arch = str(entry.pop("arch"))
            numbers = {name: float(entry[name]) for name in (*self._names, *entry)}
        except (PipelineError, KeyError, TypeError, ValueError, OverflowError):
            return
        if all(map(math.isfinite, numbers.values())):
            self._known[arch] = numbers
