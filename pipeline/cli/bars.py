"""Bars on a terminal: one for each part of a command, and a line about the whole."""

from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from pipeline import foreign
from pipeline.cli.progress import named
from pipeline.runs.outlook import in_words


class Bars:
    """Bars on a terminal."""

    def __init__(self, live: "Live") -> None:
        self._live = live
        self._shown: tuple[TaskID, str] | None = None
        self._ended: tuple[str, int] | None = None  # a part that has said so; some say it several times

    def __call__(self, done: int, total: int, what: str) -> None:
        if self._ended == (what, total) and done >= total:
            return
        if self._shown is None or self._shown[1] != what:
            self._close()
            name, unit = named(foreign.terminal(what))
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


class Live(Progress):
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
