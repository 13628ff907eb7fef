"""Waiting for what another process or thread does: until it is there, and never for ever."""

import time
from collections.abc import Callable
from pathlib import Path


def until(there: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Return once `there()` is true; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
        time.sleep(0.02)


def lines_of(file: Path) -> int:
    """How many lines a file has by now; 0 where there is none."""
    return file.read_bytes().count(b"\n") if file.exists() else 0


def children_of(pid: int) -> list[int]:
    """The processes that process `pid` has started, in the order in which it did."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
