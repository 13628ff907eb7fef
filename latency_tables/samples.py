"""From the journal of a measurement to one latency per model, steady against a machine that slows and speeds up."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from latency_tables.journal import SENTINEL, Entry

Array = NDArray[np.float64]

_REACH = 3.0  # timings over which a machine's state fades into the next
_SHRINK = 0.2  # weight of "nothing is the matter" beside the neighbours'
_ROUNDS = 8
_MOST = 0.5  # in log(time), that one timing may say about the machine


@dataclass(frozen=True, slots=True)
class Samples:
    """The sessions' medians of each model in milliseconds, and how steady the device was meanwhile.

    `sentinel_ms` is the sentinel's median, `drift_percent` how far its 5 % and 95 % quantiles lie apart, in
    percent of it.
    """

    sessions_ms: dict[str, tuple[float, ...]]
    runs: dict[str, int]
    drift_percent: float
    batches_repeated: int
    sentinel_ms: float = 0.0

    def median_ms(self, name: str) -> float:
        """The median over all fresh sessions, in milliseconds."""
        return median(self.sessions_ms[name])

    def spread_percent(self, name: str) -> float:
        """The range that the middle half of the sessions spans, in percent of their median."""
        values = sorted(self.sessions_ms[name])
        quarter = len(values) // 4
        return 100 * (values[-1 - quarter] - values[quarter]) / median(values)


def collect(entries: Sequence[Entry], normalise: bool = True) -> Samples:
    """The samples in `entries`, without those that were measured again.

    With `normalise` each is divided by how slow the device was at that moment (see `slowness`).
    """
    timings = _kept(entries)
    factors = slowness(timings) if normalise else np.ones(len(timings))
    sessions: dict[str, tuple[float, ...]] = {}
    runs: dict[str, int] = {}
    for entry, factor in zip(timings, factors.tolist(), strict=True):
        if entry.name != SENTINEL:
            values = (value / factor for value in entry.session_ms)
            sessions[entry.name] = (*sessions.get(entry.name, ()), *values)
            runs[entry.name] = runs.get(entry.name, 0) + entry.runs
    sentinels = [median(entry.session_ms) for entry in entries if entry.name == SENTINEL]
    repeated = sum(entry.kind == "repeat" for entry in entries)
    usual_ms = median(sentinels) if sentinels else 0.0
    return Samples(sessions, runs, _drift_percent(sentinels), repeated, usual_ms)


def _kept(entries: Sequence[Entry]) -> list[Entry]:
    """The timings, in the order of time, that no later entry asks to repeat.

    A sentinel all of whose neighbours are repeated saw what they are repeated for, and goes with them.
    """
    dropped: set[int] = set()
    latest: dict[tuple[int, str], int] = {}
    for number, entry in enumerate(entries):
        if entry.kind == "repeat":
            dropped.add(number)
            dropped.update(latest.pop((entry.visit, name)) for name in entry.names if (entry.visit, name) in latest)
        elif entry.name != SENTINEL:
            latest[entry.visit, entry.name] = number
    gone = {
        number
        for number, entry in enumerate(entries)
        if entry.name == SENTINEL and {max(0, number - 1), min(len(entries) - 1, number + 1)} <= dropped
    }
    return [entry for number, entry in enumerate(entries) if number not in dropped | gone]


def slowness(timings: Sequence[Entry]) -> Array:
    """How slow the device was at each of `timings`, which are in the order of time: shape (timings,), 1 is usual.

    Every model that was timed more than once is a sentinel: log(time) = level of the model + state of the
    machine, the state being what the neighbours in time (not the timing itself) deviate from their own levels,
    with weights that fade exponentially. Levels and states are found in turn, as in Tukey's median polish.
    """
    values = np.log([np.mean(entry.session_ms) for entry in timings])
    names = {name: number for number, name in enumerate(dict.fromkeys(entry.name for entry in timings))}
    model = np.array([names[entry.name] for entry in timings], dtype=np.intp)
    groups = [np.flatnonzero(model == number) for number in range(len(names))]
    telling = np.array([len(groups[number]) > 1 for number in model], dtype=float)
    state: Array = np.zeros(len(values))
    for _ in range(_ROUNDS if len(values) else 0):
        levels = np.array([np.median(values[group] - state[group]) for group in groups])
        state = _smooth(np.clip(values - levels[model], -_MOST, _MOST) * telling, telling)
    return np.exp(state)


def _smooth(deviations: Array, weights: Array) -> Array:
    """The weighted mean of each entry's neighbours, shrunk towards 0."""
    total, weight = np.zeros_like(deviations), np.full(len(deviations), _SHRINK)
    for distance in range(1, min(len(deviations), int(4 * _REACH) + 1)):
        fading = float(np.exp(-distance / _REACH))
        for here, there in (
            (slice(distance, None), slice(None, -distance)),
            (slice(None, -distance), slice(distance, None)),
        ):
            total[here] += fading * deviations[there]
            weight[here] += fading * weights[there]
    return np.asarray(total / weight)


def _drift_percent(sentinels: Sequence[float]) -> float:
    if not sentinels:
        return 0.0
    values = sorted(sentinels)
    low, high = (values[round(q * (len(values) - 1))] for q in (0.05, 0.95))
    return 100 * (high - low) / median(values)
