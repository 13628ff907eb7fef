"""How far a command is, on stderr: bars on a terminal, lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from pipeline import foreign
from pipeline.runs.outlook import in_words

_LOG_SECONDS: Final = 30.0
_WORTH_TELLING: Final = 2.0  # seconds after which the end of a part gets a line in a log


class Display(Protocol):
    """Where a command tells how far it is.

    `what` is a part's name; a word behind ": " says what is counted.
    """

    def __call__(self, done: int, total: int, what: str) -> None:
        """So much of a part is done; another `what` begins another part."""

    def note(self, text: str) -> None:
        """One line for the person, beside the bar."""

    def whole(self, text: str) -> None:
        """How far everything is, of which parts are pieces; stays until it is replaced."""


@contextmanager
def progress_bar() -> Iterator[Display]:
    """What tells progress on stderr while the context lasts.

    On a terminal a bar for the part at hand, above it those that have ended, full; in a log a line for each new part
    and every half minute.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Lines(console)
        return
    with _Live(console) as live:
        bars = _Bars(live)
        yield bars
        bars.end()


class _Bars:
    """Bars on a terminal."""

    def __init__(self, live: "_Live") -> None:
        self._live = live
        self._shown: tuple[TaskID, str] | None = None
        self._ended: tuple[str, int] | None = None  # a part that has said so; some say it several times

    def __call__(self, done: int, total: int, what: str) -> None:
        if self._ended == (what, total) and done >= total:
            return
        if self._shown is None or self._shown[1] != what:
            self._close()
            name, unit = _named(foreign.terminal(what))
            self._shown = self._live.add_task(name, total=total, completed=done, unit=unit, began=done), what
        else:
            self._live.update(self._shown[0], completed=done, total=total)
        if done >= total:
            self._close()
        self._ended = (what, total) if done >= total else None

    def note(self, text: str) -> None:
        for line in text.splitlines():
            self._live.console.print(foreign.terminal(line), soft_wrap=True, markup=False)

    def whole(self, text: str) -> None:
        self._live.whole = text

    def end(self) -> None:
        """Everything went well."""
        self._close()
        self._live.whole = ""

    def _close(self) -> None:
        """Print the bar of the part that has ended above what is still drawn, full."""
        if self._shown is None:
            return
        task = next(task for task in self._live.tasks if task.id == self._shown[0])
        # Parts may end early (no network is left to judge) or never say that they have ended.
        self._live.update(task.id, total=max(1, task.completed), completed=max(1, task.completed))
        self._live.console.print(self._live.make_tasks_table([task]))
        self._live.remove_task(task.id)
        self._shown = None


class _Live(Progress):
    """The bar of the part at hand and, below it, the line about the whole."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}", markup=False, table_column=Column(min_width=24, no_wrap=True)),
            BarColumn(bar_width=12),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}", table_column=Column(min_width=11, no_wrap=True)),
            _Rate(table_column=Column(min_width=10, no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            _Left(table_column=Column(no_wrap=True)),
        )
        self.whole = ""
        super().__init__(*columns, console=console)

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.whole:
            yield Text(self.whole, style="dim")


class _Rate(ProgressColumn):
    """How many a second, with what is counted."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        unit = f" {task.fields['unit']}" if task.fields["unit"] else ""
        return Text("" if speed is None else f"{speed:,.3g}{unit}/s" if speed < 1000 else f"{speed:,.0f}{unit}/s")


class _Left(ProgressColumn):
    """How long the part will still take; nothing once it has ended."""

    def render(self, task: Task) -> Text:
        seconds = task.time_remaining
        return Text("" if task.finished or seconds is None else f"left {in_words(seconds)}")


class _Lines:
    """Progress where there is no terminal to draw on."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._what = self._whole = ""
        self._first = 0  # what had been done when this part was first heard of
        self._began = self._told = 0.0
        self._ended = False

    def __call__(self, done: int, total: int, what: str) -> None:
        now, new = self._clock(), what != self._what
        if new:
            self._what, self._began, self._first, self._ended = what, now, done, False
        ends = done >= total and not self._ended and not new and now - self._began >= _WORTH_TELLING
        if not new and not ends and now - self._told < _LOG_SECONDS:
            return
        self._told, self._ended = now, self._ended or ends
        name, unit = _named(what)
        line = f"{name}: {done:,}/{total:,}" + (f" {unit}" if unit else "")
        if not new and done > self._first and now > self._began:
            rate = (done - self._first) / (now - self._began)
            line += f" ({rate:.3g}/s)"
            line += f", {in_words((total - done) / rate)} left" if done < total else ""
        self.note(line + (f"; {self._whole}" if self._whole else ""))

    def note(self, text: str) -> None:
        for line in text.splitlines():
            self._console.print(foreign.terminal(line), soft_wrap=True, markup=False)

    def whole(self, text: str) -> None:
        self._whole = text


def _named(what: str) -> tuple[str, str]:
    """The name of a part and what is counted: one word behind a colon, or nothing."""
    name, colon, unit = what.rpartition(": ")
    return (name, unit) if colon and unit.isalpha() else (what, "")
