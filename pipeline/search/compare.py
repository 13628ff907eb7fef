"""Is a search worth it? Methods against random networks of the same space, as the field's own critics ask.

Yang, Esperança & Carlucci (ICLR 2020), "NAS evaluation is frustratingly hard": relative improvement over the mean
random network under the same recipe, several seeds, costs told. Added here: random networks of about the same
MACs, random *search* with as many evaluations, and a verdict that needs an interval without zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import PipelineError
from pipeline.progress import Progress
from pipeline.search.candidates import CodeArray, FloatArray, keys
from pipeline.search.evaluators import Evaluator, Remembered
from pipeline.search.pool import FeasibleSpace
from pipeline.search.settings import METHODS, Method, SearchSettings
from pipeline.search.study import search
from pipeline.search.workers import Task

FEWEST_RANDOM: Final = 8
_MACS_WITHIN: Final = 0.05


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean difference with its 95 % interval; `low` and `high` are None where one seed cannot tell."""

    value: float
    low: float | None
    high: float | None

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or that no improvement was shown: only an interval without zero shows anything."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return "improvement not shown"
        return "better" if self.low > 0 else "worse"


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """One method over all seeds; differences are in units of the judged score.

    `over_mean_random` is against the mean random network, `relative_improvement_percent` the same relative to it,
    `over_equal_macs` against random networks within 5 % of the found network's MACs, `over_random_search` against
    the best of as many random evaluations with the same seed.
    `seconds` is the median time of a search alone: a network that another method judged before counts again.
    """

    method: Method
    found: tuple[str, ...]
    scores: tuple[float, ...]
    over_mean_random: Interval
    relative_improvement_percent: float
    over_equal_macs: Interval | None
    over_random_search: Interval | None
    evaluations: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """All methods, and the random networks that they are compared with (scores in the order drawn)."""

    methods: tuple[MethodFigures, ...]
    random_scores: tuple[float, ...]
    fidelity: str

    def to_document(self) -> dict[str, Any]:
        """The comparison as JSON has it."""
        return {
            "schema_version": 1,
            "fidelity": self.fidelity,
            "random": {"n": len(self.random_scores), "mean": float(np.mean(self.random_scores))},
            "methods": [
                {
                    "method": one.method,
                    "found": list(one.found),
                    "scores": list(one.scores),
                    "over_mean_random": _interval(one.over_mean_random),
                    "relative_improvement_percent": one.relative_improvement_percent,
                    "over_equal_macs": _interval(one.over_equal_macs),
                    "over_random_search": _interval(one.over_random_search),
                    "evaluations": one.evaluations,
                    "seconds": round(one.seconds, 2),
                }
                for one in self.methods
            ],
        }


def compare(
    task: Task,
    judge: Evaluator,
    methods: Sequence[str],
    seeds: int,
    evaluations: int,
    random_networks: int,
    folder: Path,
    progress: Progress | None = None,
) -> Comparison:
    """Search with each method and seed by `task.evaluator`, then judge what was found, and random networks, by `judge`.

    The judge must look at other images than the evaluator, or the best found is flattered. Everything is kept in
    `folder`, so that a comparison continues. Raises PipelineError for an unknown method, fewer than 8 random
    networks or no seed.
    """
    for method in methods:
        if method not in METHODS:
            raise PipelineError(f"search method {method!r} is unknown; known are {', '.join(METHODS)}")
    if not methods or len(set(methods)) != len(methods):
        listed = ", ".join(methods) or "none"
        raise PipelineError(f"methods to compare are {listed}; name one or more, each once, of {', '.join(METHODS)}")
    if random_networks < FEWEST_RANDOM or seeds < 1:
        raise PipelineError(
            f"a comparison needs at least {FEWEST_RANDOM} random networks and 1 seed, not {random_networks} and {seeds}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    evaluator = Remembered(task.evaluator, folder / "scores.jsonl")
    judging = Remembered(judge, folder / "judged.jsonl")
    problem = FeasibleSpace(task.space, task.costs, task.costs.ensure_reachable())
    drawn = problem.random(random_networks, np.random.default_rng(7))
    if len(drawn) < FEWEST_RANDOM:
        raise PipelineError(f"only {len(drawn)} networks are inside the budget; a comparison needs {FEWEST_RANDOM}")
    random_scores = judging.evaluate(task.space.decode(drawn))
    chosen = tuple(method for method in METHODS if method in methods)
    runs: dict[Method, _Runs] = {method: _Runs() for method in chosen}
    for seed in range(seeds):
        for number, method in enumerate(chosen):
            if progress is not None:
                progress(seed * len(chosen) + number, seeds * len(chosen), f"{method}, seed {seed}")
            settings = SearchSettings(method=method, evaluations=evaluations, seed=seed)
            result = search(task.space, task.costs, evaluator, settings, folder / f"{method}-{seed}.log")
            row = np.array([result.best.codes], dtype=np.uint8)
            seconds = result.seconds - result.judging_seconds + evaluator.seconds(c.arch for c in result.candidates)
            runs[method].add(result.best.arch, row, judging.evaluate(task.space.decode(row))[0], seconds)
    equal = {method: _equal_macs(problem, kept.codes, judging, random_networks) for method, kept in runs.items()}
    figures = tuple(_figures(m, runs[m], runs.get("random"), random_scores, equal[m], evaluations) for m in chosen)
    if progress is not None:
        progress(seeds * len(chosen), seeds * len(chosen), "compared")
    return Comparison(figures, tuple(random_scores), judge.fidelity)


class _Runs:
    """What one method found, seed by seed."""

    def __init__(self) -> None:
        self.archs: list[str] = []
        self.codes: list[CodeArray] = []
        self.scores: list[float] = []
        self.seconds: list[float] = []

    def add(self, arch: str, row: CodeArray, score: float, seconds: float) -> None:
        self.archs.append(arch)
        self.codes.append(row)
        self.scores.append(score)
        self.seconds.append(seconds)


def _figures(
    method: Method,
    runs: _Runs,
    baseline: _Runs | None,
    random_scores: Sequence[float],
    equal_macs: FloatArray,
    evaluations: int,
) -> MethodFigures:
    mean = float(np.mean(random_scores))
    over_mean = difference(runs.scores, random_scores)
    over_search = None
    if baseline is not None and method != "random":
        over_search = difference(np.array(runs.scores) - np.array(baseline.scores))
    return MethodFigures(
        method=method,
        found=tuple(runs.archs),
        scores=tuple(runs.scores),
        over_mean_random=over_mean,
        relative_improvement_percent=100 * over_mean.value / abs(mean) if mean else float("inf"),
        over_equal_macs=difference(runs.scores, equal_macs) if len(equal_macs) >= FEWEST_RANDOM else None,
        over_random_search=over_search,
        evaluations=evaluations,
        seconds=float(np.median(runs.seconds)),
    )


def difference(ours: Sequence[float] | FloatArray, theirs: Sequence[float] | FloatArray = (0.0,)) -> Interval:
    """Difference of the means of (n,) and (m,) values with Welch's 95 % interval; against a constant, Student's.

    With the handful of seeds that a comparison has, a bootstrap interval would be far too narrow.
    """
    from scipy.stats import t

    mine, other = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    value = float(mine.mean() - other.mean())
    if len(mine) < 2:
        return Interval(value, None, None)
    own = mine.var(ddof=1) / len(mine)
    its = other.var(ddof=1) / len(other) if len(other) > 1 else 0.0
    if own + its == 0:
        return Interval(value, value, value)
    spread = own**2 / (len(mine) - 1) + (its**2 / (len(other) - 1) if len(other) > 1 else 0.0)
    half = float(t.ppf(0.975, (own + its) ** 2 / spread) * np.sqrt(own + its))
    return Interval(value, value - half, value + half)


def _equal_macs(problem: FeasibleSpace, found: list[CodeArray], judge: Evaluator, count: int) -> FloatArray:
    """Scores of random feasible networks within 5 % of the MACs of those found; as many as there are, to `count`."""
    of = problem.costs["macs"].of
    targets = np.array([float(of(row)[0]) for row in found])
    pool = problem.random(50 * count, np.random.default_rng(8), frozenset(keys(np.concatenate(found))))
    if not len(pool):
        return np.empty(0)
    near = np.abs(of(pool)[:, None] / targets - 1).min(axis=1) <= _MACS_WITHIN
    return np.array(judge.evaluate(problem.space.decode(pool[near][:count])))


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    ci95 = None if interval.low is None else [interval.low, interval.high]
    return {"value": interval.value, "ci95": ci95, "verdict": interval.verdict}
