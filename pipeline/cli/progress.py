"""How far a command is, on stderr: bars on a terminal, lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console

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
        yield Lines(console)
        return
    from pipeline.cli.bars import Bars, Live

    with Live(console) as live:
        bars = Bars(live)
        yield bars
        bars.end()


class Lines:
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
        name, unit = named(what)
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


def named(what: str) -> tuple[str, str]:
    """The name of a part and what is counted: one word behind a colon, or nothing."""
    name, colon, unit = what.rpartition(": ")
    return (name, unit) if colon and unit.isalpha() else (what, "")
