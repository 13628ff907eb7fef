"""Measuring every distinct block of a space, and whole networks to calibrate and judge their sums.

Each model is visited several times, each time in another random order and another process; a sentinel
network is timed between them. What stands beside a sentinel that drifted is measured again.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles

from latency_tables.blocks import Block
from latency_tables.devices.runner import Attended, Metered, Runner, TimingProtocol
from latency_tables.errors import DeviceLost
from latency_tables.journal import SENTINEL, Entry, Header, Journal, open_journal, plan_hash
from latency_tables.onnx_models import NamedModel
from latency_tables.samples import Samples, collect
from latency_tables.table import DeviceInfo, read_precision

Progress = Callable[[int, int, str], None]

# The sentinel: a small network of every kind of block that takes a millisecond or so; the same for all tables.
SENTINEL_MODEL = NamedModel(
    SENTINEL,
    (
        Block("conv", 128, 3, 16, 3, 2, activation="hswish"),
        Block("mbconv", 64, 16, 24, 3, 2, 64, 0, "relu"),
        Block("mbconv", 32, 24, 40, 5, 2, 96, 24, "relu"),
        Block("mbconv", 16, 40, 40, 5, 1, 160, 40, "hswish", True),
        Block("mbconv", 16, 40, 80, 7, 2, 240, 0, "hswish"),
        Block("mbconv", 8, 80, 80, 3, 1, 480, 0, "hswish", True),
        Block("conv", 8, 80, 480, activation="hswish"),
        Block("pool", 8, 480, 480),
        Block("linear", 1, 480, 100),
    ),
)


@dataclass(frozen=True, slots=True)
class MeasureOptions:
    """How a whole table is measured; see `TimingProtocol` for one visit to one model.

    A sentinel stands between every `sentinel_every` models. What stands beside one that took `drift_percent`
    more or less than its lower quartile is measured again at the end of the visit, up to `repeats` times, after
    `cool_seconds`. A model is unstable when the middle half of its sessions spans more than
    `unstable_percent`; it then gets up to `extra_visits` more visits. A lost device is tried again `reconnects`
    times, after 1, 2, 4… times `cool_seconds`.
    """

    protocol: TimingProtocol = field(default_factory=TimingProtocol)
    visits: int = 3
    drift_percent: float = 8.0
    unstable_percent: float = 8.0
    repeats: int = 2
    extra_visits: int = 2
    cool_seconds: float = 1.0
    reconnects: int = 3
    batch_models: int = 24
    sentinel_every: int = 3
    seed: int = 0

    @classmethod
    def quick(cls, seed: int = 0) -> "MeasureOptions":
        """One short look at everything: a tenth of the time, and several times the error."""
        protocol = TimingProtocol(sessions=1, warmups=2, runs=10, session_ms=5.0, patience_ms=200.0)
        return cls(protocol, visits=1, repeats=0, extra_visits=0, cool_seconds=0.0, seed=seed)

    def frugal(self, models: int) -> "MeasureOptions":
        """The same with one job a model, and one sentinel: for a device that every job on costs."""
        once = replace(self.protocol, sessions=1)
        return replace(
            self, protocol=once, visits=1, repeats=0, extra_visits=0, batch_models=models, sentinel_every=models
        )

    def settings(self) -> dict[str, float]:
        """The numbers that a table's provenance records."""
        own = {name: float(getattr(self, name)) for name in ("visits", "drift_percent", "unstable_percent")}
        return {**own, **{name: float(value) for name, value in self.protocol.to_dict().items()}}


def measure_models(
    models: Sequence[NamedModel], runner: Runner, journal_path: Path, options: MeasureOptions, progress: Progress | None
) -> tuple[DeviceInfo, Samples]:
    """Time all `models` (names must be distinct) in the device's precision, continuing the journal at `journal_path`
    where there is one.

    Raises MeasurementError when the device is lost (what was measured stays in the journal), TableError
    when the journal belongs to something else.
    """
    if isinstance(runner, Metered):
        options = options.frugal(len(models))
    # More visits to the same models continue what fewer have begun.
    settings = {name: value for name, value in options.settings().items() if name != "visits"}
    header = Header(plan=plan_hash(models, settings), device=runner.describe())
    precision = read_precision(header.device.precision)
    journal = open_journal(journal_path, header)
    try:
        named = {model.name: model.at(precision) for model in models}
        campaign = _Campaign(named, SENTINEL_MODEL.at(precision), runner, journal, options, progress)
        for visit in range(options.visits):
            campaign.visit(visit, list(campaign.models))
        for visit in range(options.visits, options.visits + options.extra_visits):
            samples = collect(journal.entries)
            campaign.visit(visit, [m for m in campaign.models if samples.spread_percent(m) > options.unstable_percent])
        return header.device, collect(journal.entries)
    finally:
        if not journal.entries:  # nothing to continue from
            journal_path.unlink(missing_ok=True)
        journal.close()


@dataclass
class _Campaign:
    models: dict[str, NamedModel]
    sentinel: NamedModel
    runner: Runner
    journal: Journal
    options: MeasureOptions
    progress: Progress | None
    losses: int = 0

    def visit(self, visit: int, names: Sequence[str]) -> None:
        """Time each of `names` once more, except those that the journal already has for this visit."""
        for attempt in range(self.options.repeats + 1):
            while left := [name for name in names if name not in _timed(self.journal.entries, visit)]:
                try:
                    self._round(visit, attempt, left)
                    break
                except DeviceLost:
                    if self.losses >= self.options.reconnects:
                        raise
                    time.sleep(self.options.cool_seconds * 2**self.losses)
                    self.losses += 1

    def _round(self, visit: int, attempt: int, names: list[str]) -> None:
        """Time `names` in a random order, batch by batch; note those beside a drifted sentinel for another round."""
        if attempt:
            time.sleep(self.options.cool_seconds)
        random.Random(f"{self.options.seed}/{visit}/{attempt}").shuffle(names)
        for start in range(0, len(names), self.options.batch_models):
            batch = names[start : start + self.options.batch_models]
            self._batch(visit, batch)
            if attempt < self.options.repeats and (drifted := self._drifted(batch)):
                self.journal.add(Entry(kind="repeat", visit=visit, names=drifted))

    def _batch(self, visit: int, names: Sequence[str]) -> None:
        """Time `names` in one process, the sentinel before, between and after them."""
        every = self.options.sentinel_every
        models = [self.sentinel]
        for start in range(0, len(names), every):
            models += [self.models[name] for name in names[start : start + every]]
            models.append(self.sentinel)
        for timing in self.runner.measure(models, self.options.protocol):
            values = list(timing.session_ms)
            entry = Entry(kind="timing", visit=visit, name=timing.name, session_ms=values, runs=timing.runs)
            self.journal.add(entry.model_copy(update={"disturbed": timing.disturbed}))
            if timing.name != SENTINEL:
                self._show(visit)

    def _drifted(self, names: Sequence[str]) -> list[str]:
        """Those of the last batch's `names` that were disturbed, or stand beside a sentinel that was not as usual."""
        timed = [median(entry.session_ms) for entry in self.journal.entries if entry.name == SENTINEL]
        usual = quantiles(timed, n=4)[0] if len(timed) > 1 else timed[0]
        every = self.options.sentinel_every
        segments = [names[start : start + every] for start in range(0, len(names), every)]
        last = timed[-len(segments) - 1 :]
        off = [abs(value / usual - 1) > self.options.drift_percent / 100 for value in last]
        batch = self.journal.entries[-len(names) - len(last) :]
        disturbed = {entry.name for entry in batch if entry.disturbed}
        if 2 * len(disturbed) > len(names):  # a machine that is always busy is not waited for
            disturbed = set()
        return [
            name
            for segment, before, after in zip(segments, off[:-1], off[1:], strict=True)
            for name in segment
            if before or after or name in disturbed
        ]

    def _show(self, visit: int) -> None:
        total = len(self.models) * self.options.visits
        done = min(total, visit * len(self.models) + len(_timed(self.journal.entries, visit)))
        if isinstance(self.runner, Attended):
            self.runner.show_progress(done, total)
        if self.progress is not None:
            self.progress(done, total, "measuring")


def _timed(entries: Sequence[Entry], visit: int) -> set[str]:
    timed: set[str] = set()
    for entry in entries:
        if entry.visit == visit and entry.kind == "repeat":
            timed.difference_update(entry.names)
        elif entry.visit == visit and entry.name != SENTINEL:
            timed.add(entry.name)
    return timed
