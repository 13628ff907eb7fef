"""Commands in processes of their own, which can be hurt, and what is left of them afterwards."""

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

_MARK: Final = "POCKETNAS_FAULT"
_ENDS_WITHIN_S: Final = 180.0


class Command:
    """A running command; every process that it starts inherits a mark by which it is found again. A context manager,
    which leaves none of them behind."""

    def __init__(self, words: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        name, value = self._mark.split("=")
        quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", name: value, **(environment or {})}
        self.log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                words, stdout=subprocess.DEVNULL, stderr=stream, env={**os.environ, **quiet}, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.poll()

    def send(self, sign: signal.Signals) -> None:
        """Send a signal to the command alone, not to what it has started."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(sign)

    def wait(self, seconds: float = _ENDS_WITHIN_S) -> int | None:
        """The exit code; None where it does not end in time (it is then killed)."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            return None

    def said(self) -> str:
        """What it wrote to stderr."""
        return self.log.read_text(errors="replace")

    def left_over(self, within_s: float = 10.0) -> int:
        """How many of its processes still live after so long; they are then killed."""
        until = time.monotonic() + within_s
        while (left := self._marked()) and time.monotonic() < until:
            time.sleep(0.05)
        self.end()
        return len(left)

    def end(self) -> None:
        """Kill it and all that it started."""
        for process in self._marked():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()

    def _marked(self) -> list[int]:
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._has_mark(entry)]

    def _has_mark(self, entry: Path) -> bool:
        try:
            alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
            return alive and self._mark.encode() in (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is somebody else's
            return False
