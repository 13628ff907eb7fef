"""What a command prints: one JSON document, or a table for people; progress and notes go to stderr."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pipeline import foreign

_LOG_SECONDS: Final = 30.0
_LOG_COLUMNS: Final = 120
_LINE_ENDS: Final = {code: f"\\u{code:04x}" for code in (0x7F, *range(0x80, 0xA0), 0x2028, 0x2029)}
ProgressCallback = Callable[[int, int, str], None]


def emit(document: Any, as_json: bool, render: Callable[[Console], None]) -> None:
    """Print `document` as the only thing on stdout, or let `render` draw it for a person."""
    if as_json:
        text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        # JSON's own escapes for names that are no UTF-8, other ends of lines, and what a CI runner would take for a
        # command.
        text = text.encode("utf-8", "backslashreplace").decode().translate(_LINE_ENDS).replace("##[", "##\\u005b")
        sys.stdout.write(text + "\n")
    else:
        console = Console()
        # A log has no width; rich would fold tables into 80 columns.
        render(console if console.is_terminal else Console(width=max(console.width, _LOG_COLUMNS)))


def note(text: str) -> None:
    """One line for the person, on stderr."""
    Console(stderr=True, highlight=False).print(foreign.terminal(text), soft_wrap=True, markup=False)


@contextmanager
def progress_bar() -> Iterator[ProgressCallback]:
    """A callback `progress(done, total, what)`, drawn on stderr: what, how far, how long still.

    A bar on a terminal; in a log a line for each new thing and every half minute.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _LogLines(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=False) as bar:
        shown: list[tuple[TaskID, str]] = []

        def update(done: int, total: int, what: str) -> None:
            if shown and shown[-1][1] == what:
                bar.update(shown[-1][0], completed=done, total=total)
                return
            if shown:
                bar.stop_task(shown[-1][0])
            shown.append((bar.add_task(what, total=total, completed=done), what))

        yield update


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.3g}/s")


class _LogLines:
    """Progress where there is no terminal to draw on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._what = ""
        self._began = self._told = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if what == self._what and now - self._told < _LOG_SECONDS:
            return
        left = ""
        if what != self._what:
            self._what, self._began = what, now
        elif done:
            left = f" ({done / (now - self._began):.3g}/s), {(now - self._began) / done * (total - done):.0f} s left"
        self._told = now
        self._console.print(f"{what}: {done}/{total}{left}", highlight=False, markup=False, soft_wrap=True)
