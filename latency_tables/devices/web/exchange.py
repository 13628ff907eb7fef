"""Where a measurement and the browser that does it meet: one model at a time goes out, one timing comes back.

The measurement's thread asks `device` and `time`; the web server's threads call the rest for the page. A page
that was reloaded or lost leaves its model to the next one of the same browser; a second page is refused while
the first is alive.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from latency_tables.devices.runner import Timing, TimingProtocol
from latency_tables.errors import MeasurementError
from latency_tables.table import DeviceInfo

SILENT_S: Final = 15.0  # a page says something every 3 seconds
_RELOAD_S: Final = 5.0  # a page that has said good-bye may be back at once
_LOOK_S: Final = 1.0


class Refused(Exception):  # it is an answer
    """What the page asked for is not to be had; `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Task:
    """A model to time: its number in this measurement, its name, its input's shape, and its bytes."""

    number: int
    name: str
    shape: tuple[int, ...]
    model: bytes
    protocol: TimingProtocol


@dataclass
class _Page:
    """The page that measures: its random name, and when it last said something (monotonic seconds)."""

    name: str
    heard: float


class Exchange:
    """See the module. `tell` gets each line that a person should read; `clock` gives monotonic seconds."""

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._changed = threading.Condition()
        self._device: DeviceInfo | None = None
        self._page: _Page | None = None
        self._task: Task | None = None
        self._taken_by = ""
        self._answer: Timing | MeasurementError | None = None
        self._numbers = 0
        self._last_word = 0.0
        self._ended = False
        self.progress = (0, 0)

    # -- the measurement's side ------------------------------------------------------------------------

    def device(self) -> DeviceInfo:
        """The browser, once somebody has opened the page in one; waits as long as that takes."""
        with self._changed:
            while self._device is None:
                if isinstance(self._answer, MeasurementError):
                    raise self._take_answer()
                self._changed.wait(_LOOK_S)
            return self._device

    def time(self, name: str, shape: tuple[int, ...], model: bytes, protocol: TimingProtocol) -> Timing:
        """What the browser measures of `model`; waits as long as it takes, and says when the page is lost.

        Raises MeasurementError where the browser cannot run the model.
        """
        with self._changed:
            self._numbers += 1
            self._task = Task(self._numbers, name, shape, model, protocol)
            self._taken_by, self._answer = "", None
            self._changed.notify_all()
            lost = False
            while self._answer is None:
                lost = self._told_whether_lost(lost)
                self._changed.wait(_LOOK_S)
            self._task = None
            if isinstance(self._answer, MeasurementError):
                raise self._take_answer()
            return self._answer

    def end(self) -> None:
        """Nothing more is to be measured: the page is told when it next asks."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_until_told(self, seconds: float) -> None:
        """Wait until the page has heard of the end, at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._page is None, seconds)

    def _told_whether_lost(self, lost: bool) -> bool:
        silent = self._clock() - self._last_word > (_RELOAD_S if self._page is None else SILENT_S)
        if silent and not lost:
            self._tell("the page is gone, or the phone sleeps: open it again, and measuring goes on where it was")
        if lost and not silent:
            self._tell("the page is back")
        return silent

    def _take_answer(self) -> MeasurementError:
        assert isinstance(self._answer, MeasurementError)
        error, self._answer = self._answer, None
        return error

    # -- the page's side -------------------------------------------------------------------------------

    def join(self, page: str, device: DeviceInfo) -> None:
        """`page`, in a browser that is `device`, will measure from now on.

        Refused: while another page is alive (409), and in another browser than the one that began (403).
        """
        with self._changed:
            if self._page is not None and self._page.name != page and not self._silent():
                raise Refused(
                    409,
                    "another page is measuring, or paused out of sight; this one goes on when it is closed",
                )
            if self._device is not None and (differs := self._differs(device)):
                raise Refused(403, f"this measurement has begun in another browser: {differs}")
            self._device = self._device or device
            self._page = _Page(page, self._clock())
            self._last_word, self._taken_by = self._clock(), ""
            self._changed.notify_all()

    def heard(self, page: str) -> None:
        """`page` is alive. Refused (409) where another one measures."""
        with self._changed:
            self._hear(page)

    def leave(self, page: str) -> None:
        """`page` is being closed, or loaded again."""
        with self._changed:
            if self._page is not None and self._page.name == page:
                self._page, self._last_word = None, self._clock()
                self._changed.notify_all()

    def next(self, page: str, wait_s: float) -> Task | None:
        """The model that `page` is to time, None if there is none within `wait_s`. Refused (410) in the end."""
        with self._changed:
            self._hear(page)
            self._changed.wait_for(lambda: self._ended or self._open_task() is not None, wait_s)
            self._hear(page)
            if self._ended:
                self._page = None
                self._changed.notify_all()
                raise Refused(410, "everything is measured")
            if (task := self._open_task()) is not None:
                self._taken_by = page
            return task

    def model(self, number: int) -> bytes:
        """The bytes of the model that is to be timed now. Refused (404): any other."""
        with self._changed:
            if self._task is None or self._task.number != number:
                raise Refused(404, "no such model")
            return self._task.model

    def answer(self, page: str, number: int, session_ms: tuple[float, ...], runs: int, disturbed: int) -> None:
        """What `page` measured of model `number`. Refused (409) where that is not what it was to time."""
        with self._changed:
            task = self._asked(page, number)
            if len(session_ms) != task.protocol.sessions or disturbed > len(session_ms):
                raise Refused(400, f"{task.protocol.sessions} sessions were asked for")
            self._answer = Timing(task.name, session_ms, runs, disturbed)
            self._changed.notify_all()

    def fail(self, page: str, number: int, reason: str) -> None:
        """`page` cannot time model `number`. Refused (409) where that is not what it was to time."""
        with self._changed:
            task = self._asked(page, number)
            self._answer = MeasurementError(f"the browser cannot time {task.name!r}: {reason}")
            self._changed.notify_all()

    def unable(self, reason: str) -> None:
        """A browser that cannot measure at all, and why; ignored once one has begun."""
        with self._changed:
            if self._device is None:
                self._answer = MeasurementError(f"the browser cannot measure: {reason}")
                self._changed.notify_all()

    def _asked(self, page: str, number: int) -> Task:
        self._hear(page)
        task = self._open_task()
        if task is None or task.number != number or self._taken_by != page:
            raise Refused(409, "that is not the model that this page was given")
        return task

    def _open_task(self) -> Task | None:
        return self._task if self._answer is None else None

    def _hear(self, page: str) -> None:
        """Note that the active page lives. Refused (409): any other page."""
        if self._page is None or self._page.name != page:
            raise Refused(409, "another page is measuring" if self._page is not None else "join first")
        self._page.heard = self._last_word = self._clock()

    def _silent(self) -> bool:
        return self._page is None or self._clock() - self._page.heard > SILENT_S

    def _differs(self, device: DeviceInfo) -> str:
        assert self._device is not None
        if device.name != self._device.name:
            return f"{device.name!r} instead of {self._device.name!r}"
        return self._device.differences(device)
