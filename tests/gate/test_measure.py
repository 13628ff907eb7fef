"""Decisions from noisy rounds: how often they are wrong, and that they say when they cannot be made."""

import math
import random
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from pipeline.gate.device_rounds import as_models, device_round
from pipeline.gate.errors import CannotMeasure
from pipeline.gate.host_rounds import TimedModel, _time, host_clock, host_round
from pipeline.gate.interval import _cut, middle_interval
from pipeline.gate.measure import LookPlan, Taken, judge_change, judge_latency, rounds_needed

Noise = Callable[[random.Random], float]

NOISES: dict[str, Noise] = {
    "normal": lambda rng: rng.gauss(0, 0.02),
    "bursts": lambda rng: rng.gauss(0, 0.3 if rng.random() < 0.1 else 0.015),
    "two speeds": lambda rng: rng.choice([-0.03, 0.03]) + rng.gauss(0, 0.005),
}


@pytest.mark.parametrize("n", [4, 7, 10])
def test_the_cut_is_that_of_all_sign_patterns(n: int) -> None:
    sums = [sum(r for r, s in zip(range(1, n + 1), signs, strict=True) if s) for signs in product((0, 1), repeat=n)]
    for alpha in (0.2, 0.05, 0.01):
        fits = [c for c in range(max(sums) + 1) if np.mean([s <= c for s in sums]) <= alpha]
        assert _cut(n, alpha) == (max(fits) if fits else None)


def test_bounds_are_where_wilcoxons_test_turns() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, 30)
    interval = middle_interval(list(values), 0.01)
    for bound, side in ((interval.low, "greater"), (interval.high, "less")):
        inside, outside = bound + 1e-6, bound - 1e-6
        if side == "less":
            inside, outside = outside, inside
        assert _p_value(values - inside, side) > 0.01
        assert _p_value(values - outside, side) <= 0.01


def _p_value(values: NDArray[np.float64], side: str) -> float:
    result = wilcoxon(values, alternative="greater" if side == "greater" else "less", method="exact")
    return float(result.pvalue)


def test_too_few_values_give_no_bound() -> None:
    interval = middle_interval([1.0, 2.0, 3.0], 0.01)
    assert (interval.middle, interval.low, interval.high) == (2.0, -math.inf, math.inf)


def test_one_thread_is_not_charged_for_what_it_waits() -> None:
    """Other programs that want the machine make a call wait, here by sleeping; of several threads all is counted."""
    alone, several = (_time(lambda: time.sleep(0.02), 1, host_clock(threads)) for threads in (1, 2))
    assert alone.ms < 10 and alone.wall_ms >= 20
    assert several.ms == several.wall_ms >= 20


def decided(change: float, noise: Noise, seed: int) -> str:
    rng = random.Random(seed)
    round_ = lambda: [Taken(5 * (1 + change) * math.exp(noise(rng)), 5.0), Taken(5.0, 5.0)]  # noqa: E731
    return judge_change(round_, 0.025, LookPlan()).decision


@pytest.mark.parametrize("name", NOISES)
def test_identical_models_raise_no_alarm_and_slower_ones_do(name: str) -> None:
    runs = 150
    identical = [decided(0.0, NOISES[name], seed) for seed in range(runs)]
    slower = [decided(0.05, NOISES[name], seed) for seed in range(runs)]
    assert identical.count("above") == 0
    assert slower.count("above") >= 0.95 * runs
    assert slower.count("below") == 0


def test_on_the_limit_itself_hardly_any_decision_is_made() -> None:
    runs = 400
    decisions = [decided(0.025, NOISES["normal"], seed) for seed in range(runs)]
    # The promise is 1 in 200 to each side; 400 runs of an honest procedure have more than 8 once in 10,000.
    assert decisions.count("above") <= 8
    assert decisions.count("below") <= 8


def test_what_would_settle_it_is_said() -> None:
    rng = random.Random(0)
    outcome = judge_latency(lambda: [Taken(10.05 * math.exp(rng.gauss(0, 0.1)), 11.0)], 10.0, LookPlan(looks=(12, 24)))
    assert outcome.decision == "undecided"
    assert outcome.low < 10 < outcome.high
    assert rounds_needed(outcome, 10.0) > 24


def test_a_clear_case_is_decided_at_the_first_look() -> None:
    outcome = judge_latency(lambda: [Taken(5.0, 5.5)], 10.0, LookPlan())
    assert (outcome.decision, outcome.rounds, outcome.wall_ms) == ("below", 12, 5.5)
    assert outcome.value == pytest.approx(5)


def test_a_real_model_is_timed_and_more_work_takes_longer(tiny: Path, bigger: Path) -> None:
    rng = random.Random(0)
    small, large = TimedModel(tiny, {}), TimedModel(bigger, {})
    ratios = [a.ms / b.ms for a, b in (host_round([large, small], 1, rng) for _ in range(7))]
    assert sorted(ratios)[3] > 1


def test_a_file_that_cannot_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(CannotMeasure, match=r"cannot run .*broken\.onnx"):
        host_round([TimedModel(path, {})], 1, random.Random(0))


def test_a_device_times_both_models_of_a_round(tiny: Path, bigger: Path) -> None:
    from latency_tables.devices.host import HostRunner

    taken = device_round(as_models([TimedModel(tiny, {}), TimedModel(bigger, {})]), HostRunner())
    assert len(taken) == 2
    assert all(one.ms > 0 for one in taken)
