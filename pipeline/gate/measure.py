"""Deciding about a latency from noisy rounds: measure until the interval decides, or say that it did not.

A round times each model once, in turn. What is judged is the middle of the rounds' logarithms (of a latency, or
of the ratio of two), so that noise that multiplies is symmetric.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.gate.interval import Interval, middle_interval
from pipeline.progress import Progress

Decision = Literal["below", "above", "undecided"]


@dataclass(frozen=True, slots=True)
class LookPlan:
    """When to look at the rounds so far, and how sure to be.

    Of all decisions on models that lie exactly on the limit at most `error` are wrong to either side; it is
    shared equally by the looks, so looking early costs nothing but a wider interval.
    """

    looks: tuple[int, ...] = (12, 24, 48, 96, 192)
    error: float = 1 / 200

    @property
    def alpha(self) -> float:
        """Probability that one bound of one look's interval is wrong."""
        return self.error / len(self.looks)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`value` against the limit: a latency in ms, or a ratio of latencies minus 1. `wall_ms` is by the wall clock."""

    decision: Decision
    value: float
    low: float
    high: float
    rounds: int
    wall_ms: float


@dataclass(frozen=True, slots=True)
class Taken:
    """One model in one round: milliseconds of one run, by the clock that is judged and by the wall clock."""

    ms: float
    wall_ms: float


Round = Callable[[], Sequence[Taken]]


def judge_latency(one_round: Round, limit_ms: float, plan: LookPlan, progress: Progress | None = None) -> Outcome:
    """Whether the one model that `one_round` times takes more than `limit_ms`."""

    def log_ms(taken: Sequence[Taken]) -> float:
        return math.log(taken[0].ms)

    interval, wall_ms, rounds = _until_decided(one_round, log_ms, math.log(limit_ms), plan, progress)
    low, middle, high = (math.exp(v) for v in (interval.low, interval.middle, interval.high))
    return Outcome(_decide(interval, math.log(limit_ms)), middle, low, high, rounds, wall_ms)


def judge_change(one_round: Round, allowed: float, plan: LookPlan, progress: Progress | None = None) -> Outcome:
    """Whether the first of two models takes more than `1 + allowed` times as long as the second."""

    def log_ratio(taken: Sequence[Taken]) -> float:
        return math.log(taken[0].ms / taken[1].ms)

    interval, wall_ms, rounds = _until_decided(one_round, log_ratio, math.log1p(allowed), plan, progress)
    low, middle, high = (math.expm1(v) for v in (interval.low, interval.middle, interval.high))
    return Outcome(_decide(interval, math.log1p(allowed)), middle, low, high, rounds, wall_ms)


def rounds_needed(outcome: Outcome, limit: float) -> int:
    """About how many rounds would have narrowed the interval until it left `limit`; at most a million."""
    distance = abs(outcome.value - limit)
    half = max(outcome.high - outcome.value, outcome.value - outcome.low)
    if distance == 0 or not math.isfinite(half):
        return 1_000_000
    return min(1_000_000, math.ceil(outcome.rounds * (half / distance) ** 2))


def _decide(interval: Interval, limit: float) -> Decision:
    if interval.high <= limit:
        return "below"
    return "above" if interval.low > limit else "undecided"


def _until_decided(
    one_round: Round,
    value: Callable[[Sequence[Taken]], float],
    limit: float,
    plan: LookPlan,
    progress: Progress | None,
) -> tuple[Interval, float, int]:
    """The interval of `value` over the rounds, the first model's median wall ms, and how many rounds it took."""
    values: list[float] = []
    wall: list[float] = []
    interval = Interval(math.nan, -math.inf, math.inf)
    for look in plan.looks:
        while len(values) < look:
            taken = one_round()
            values.append(value(taken))
            wall.append(taken[0].wall_ms)
            if progress is not None:
                progress(len(values), plan.looks[-1], "measuring until it is decided")
        interval = middle_interval(values, plan.alpha)
        if _decide(interval, limit) != "undecided":
            break
    return interval, statistics.median(wall), len(values)
