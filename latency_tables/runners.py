"""Devices that can be measured, each behind one small protocol."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Protocol
from urllib.parse import SplitResult, urlsplit

from latency_tables.errors import TableError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo


@dataclass(frozen=True, slots=True)
class Timing:
    """What a device answered for one model: the median milliseconds of each fresh session, the number of timed
    runs, and of sessions that other programs disturbed, where the device can tell."""

    name: str
    session_ms: tuple[float, ...]
    runs: int
    disturbed: int = 0


@dataclass(frozen=True, slots=True)
class TimingProtocol:
    """How one model is timed in one visit: `sessions` fresh sessions, in each `warmups` untimed runs, then
    at least `runs` timed ones and more until they last `session_ms`; the session's value is their median.

    Where the runner can tell that another program disturbed a run, it repeats it, and waits for a quiet moment
    up to `patience_ms`, which undisturbed work gives back; 0 takes every run."""

    sessions: int = 2
    warmups: int = 5
    runs: int = 25
    session_ms: float = 20.0
    patience_ms: float = 2000.0

    def __post_init__(self) -> None:
        if min(self.sessions, self.runs) < 1 or self.warmups < 0 or min(self.session_ms, self.patience_ms) < 0:
            raise TableError(f"{self} cannot time anything: sessions and runs must be at least 1")

    def to_dict(self) -> dict[str, float]:
        """As the runner script reads it."""
        return asdict(self)


class Runner(Protocol):
    """A device. `measure` yields results one by one, so that a lost connection loses only what is in flight."""

    def describe(self) -> DeviceInfo:
        """What the device is. Raises MeasurementError where it cannot be reached."""
        ...

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        """Time `models` in this order. Raises MeasurementError where the device is lost or refuses a model."""
        ...


def _host(url: SplitResult, threads: int) -> Runner:
    from latency_tables.host import HostRunner

    return HostRunner(threads)


def _ssh(url: SplitResult, threads: int) -> Runner:
    from latency_tables.ssh import SshRunner

    return SshRunner(url, threads)


def _adb(url: SplitResult, threads: int) -> Runner:
    from latency_tables.adb import AdbRunner

    return AdbRunner(url, threads)


def _tensorrt(url: SplitResult, threads: int) -> Runner:
    from latency_tables.tensorrt import TensorrtRunner

    return TensorrtRunner(url)


RUNNERS: Final[dict[str, Callable[[SplitResult, int], Runner]]] = {
    "host": _host,
    "ssh": _ssh,
    "adb": _adb,
    "tensorrt": _tensorrt,
}


def open_runner(device: str, threads: int = 1) -> Runner:
    """The runner for `host`, `ssh://user@board:port`, `adb://serial`, `tensorrt`…; TableError if none is.

    `threads` is how many threads a network may use on the device.
    """
    if threads < 1:
        raise TableError(f"threads must be at least 1, not {threads}")
    url = urlsplit(device)
    scheme = url.scheme or url.path
    if scheme not in RUNNERS:
        raise TableError(
            f"device {device!r} cannot be measured; accepted are host, ssh://user@board, adb://serial, tensorrt"
        )
    return RUNNERS[scheme](url, threads)
