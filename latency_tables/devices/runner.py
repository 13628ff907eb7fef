"""What a device must be able to do to be measured: the protocol that all of them follow."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from latency_tables.errors import TableError
from latency_tables.table import DeviceInfo, Precision

if TYPE_CHECKING:
    from latency_tables.onnx_models import NamedModel


@dataclass(frozen=True, slots=True)
class Timing:
    """What a device answered for one model: the median milliseconds of each fresh session, the number of timed
    runs, and of sessions that other programs disturbed, where the device can tell."""

    name: str
    session_ms: tuple[float, ...]
    runs: int
    disturbed: int = 0

    @property
    def median_ms(self) -> float:
        """Milliseconds of one run: the median over the sessions."""
        return float(median(self.session_ms))


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


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """How a device runs networks: the threads that each may use there, and the precision it computes in.

    Of a browser (`web`) also the HOST:PORT that its page is served at, and the folder of an unpacked
    `onnxruntime-web` package.
    """

    threads: int = 1
    precision: Precision = "fp32"
    listen: str | None = None
    ort_web: Path | None = None

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise TableError(f"threads must be at least 1, not {self.threads}")


class Runner(Protocol):
    """A device. `measure` yields results one by one, so that a lost connection loses only what is in flight."""

    def describe(self) -> DeviceInfo:
        """What the device is, and what clock times runs on it. Raises MeasurementError where it cannot be reached."""
        ...

    def measure(self, models: "Sequence[NamedModel]", protocol: TimingProtocol) -> Iterator[Timing]:
        """Time `models` in this order. Raises MeasurementError where the device is lost or refuses a model."""
        ...


@runtime_checkable
class Metered(Protocol):
    """A runner whose every model is a job that somebody pays for: each is timed once, and nothing beside them."""

    @property
    def jobs_cost(self) -> bool:
        """True."""


@runtime_checkable
class Closable(Protocol):
    """A runner that holds something open, here or on its device, until `close`."""

    def close(self) -> None:
        """Say that it is over, and give back what is held open."""
        ...


@runtime_checkable
class Attended(Closable, Protocol):
    """A runner whose device somebody looks at."""

    def show_progress(self, done: int, total: int) -> None:
        """Show that `done` of `total` timings are taken."""
        ...
