"""From the journal of a measurement to one latency per model, steady against a machine that slows and speeds up."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from latency_tables.journal import SENTINEL, Entry


@dataclass(frozen=True, slots=True)
class Samples:
    """The sessions' medians of each model in milliseconds, and how steady the device was meanwhile.

    `drift_percent` is how far the sentinel's 5 % and 95 % quantiles lie apart, in percent of its median.
    """

    sessions_ms: dict[str, tuple[float, ...]]
    runs: dict[str, int]
    drift_percent: float
    batches_repeated: int

    def median_ms(self, name: str) -> float:
        """The median over all fresh sessions, in milliseconds."""
        return median(self.sessions_ms[name])

    def spread_percent(self, name: str) -> float:
        """The range that the middle half of the sessions spans, in percent of their median."""
        values = sorted(self.sessions_ms[name])
        quarter = len(values) // 4
        return 100 * (values[-1 - quarter] - values[quarter]) / median(values)


def collect(entries: Sequence[Entry], normalise: bool = True) -> Samples:
    """The samples in `entries`. Each is divided by how slow the sentinels around it were against the usual one."""
    sentinels = [median(entry.session_ms) for entry in entries if entry.name == SENTINEL]
    usual = median(sentinels) if sentinels else 1.0
    kept: dict[tuple[int, str], tuple[list[float], int]] = {}
    repeated = seen = 0
    for entry in entries:
        if entry.kind == "repeat":
            repeated += 1
            for name in entry.names:
                kept.pop((entry.visit, name), None)
        elif entry.name == SENTINEL:
            seen += 1
        else:
            around = sentinels[max(0, seen - 1) : seen + 1]
            slowness = mean(around) / usual if around and normalise else 1.0
            kept[entry.visit, entry.name] = ([value / slowness for value in entry.session_ms], entry.runs)
    sessions: dict[str, tuple[float, ...]] = {}
    runs: dict[str, int] = {}
    for (_, name), (values, count) in kept.items():
        sessions[name] = (*sessions.get(name, ()), *values)
        runs[name] = runs.get(name, 0) + count
    return Samples(sessions, runs, _drift_percent(sentinels), repeated)


def _drift_percent(sentinels: Sequence[float]) -> float:
    if not sentinels:
        return 0.0
    values = sorted(sentinels)
    low, high = (values[round(q * (len(values) - 1))] for q in (0.05, 0.95))
    return 100 * (high - low) / median(values)
