"""What a ranking by a proxy is worth: agreement with the truth, with bootstrap intervals and baselines.

All intervals are 95 % percentile bootstraps over the networks (1,000 resamples unless told otherwise, the
full number of networks each: `pipeline.ranking.weighted` makes that quick, so nothing is subsampled). They tell
how much the figure depends on which networks were looked at; the spread over training seeds comes on top.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pipeline.errors import PipelineError
from pipeline.ranking.weighted import Floats, Ints, KendallTree, Order, precision_at, resample_weights, spearman

_RESAMPLES_AT_ONCE = 16  # the working set stays in a core's cache


class RankError(PipelineError):
    """Columns that cannot be compared."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; `value` is None where it is undefined (a constant column, one row)."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def ci95(self) -> list[float] | None:
        """The interval as JSON has it."""
        return None if self.low is None or self.high is None else [self.low, self.high]


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are made."""

    resamples: int = 1000
    seed: int = 0


DEFAULT: Final = Bootstrap()


@dataclass(frozen=True, slots=True)
class RankStatistics:
    """How well one proxy ranks `n` networks; higher truth and higher proxy mean better.

    `best_in_top_k` and `mean_in_top_k` are the best and the mean truth among the k networks that the proxy
    puts first, ties at the edge going to the earlier rows; `tied_best_in_top_k` is the expectation of that best
    over all ways to cut the tie. `random_best_in_top_k` is what k networks drawn at random would give, and the
    mean of the truth is what their mean would be.
    `tau_in_true_top_10_percent` and the like look only at the networks that are truly the best tenth.
    """

    n: int
    kendall_tau: Estimate
    spearman: Estimate
    precision_at_10_percent: Estimate
    best_in_top_k: Mapping[int, Estimate]
    mean_in_top_k: Mapping[int, Estimate]
    tied_best_in_top_k: Mapping[int, float]
    random_best_in_top_k: Mapping[int, float]
    mean_truth: float
    tau_in_true_top_10_percent: Estimate
    spearman_in_true_top_10_percent: Estimate
    tau_with_size: Mapping[str, Estimate] = field(default_factory=dict)


def rank_statistics(
    truth: Sequence[float] | Floats,
    proxy: Sequence[float] | Floats,
    bootstrap: Bootstrap = DEFAULT,
    top: Sequence[int] = (1, 10, 100),
    sizes: Mapping[str, Floats] | None = None,
) -> RankStatistics:
    """Compare one proxy with the truth, both of shape (n,) and free of NaN.

    `sizes` are columns such as MACs whose agreement with the proxy is told too (a proxy that follows size more
    closely than the truth does is biased towards big models). Raises RankError for unequal lengths, no rows or
    values that are not finite.
    """
    y, x = checked(truth, proxy)
    best = top_tenth(y)
    top = [k for k in top if k <= len(y)]
    estimates = _bootstrapped(x, y, bootstrap, top)
    return RankStatistics(
        n=len(y),
        kendall_tau=estimates["tau"],
        spearman=estimates["rho"],
        precision_at_10_percent=estimates["precision"],
        best_in_top_k={k: estimates[f"best{k}"] for k in top},
        mean_in_top_k={k: estimates[f"mean{k}"] for k in top},
        tied_best_in_top_k={k: _best_over_ties(y, x, k) for k in top},
        random_best_in_top_k={k: expected_best(y, k) for k in top},
        mean_truth=float(y.mean()),
        tau_in_true_top_10_percent=tau_estimate(x[best], y[best], bootstrap),
        spearman_in_true_top_10_percent=_spearman_estimate(x[best], y[best], bootstrap),
        tau_with_size={name: tau_estimate(x, size, bootstrap) for name, size in (sizes or {}).items()},
    )


def kendall_tau(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> float | None:
    """Kendall's tau-b of two columns (n,), None where it is undefined."""
    a, b = checked(x, y)
    return _defined(float(KendallTree(a, b).tau(np.ones((1, len(a))))[0]))


def tau_estimate(x: Floats, y: Floats, bootstrap: Bootstrap = DEFAULT) -> Estimate:
    """Kendall's tau-b of two columns (n,), with its interval."""
    tree = KendallTree(x, y)
    return _estimate(tree.tau(np.ones((1, len(x)))), _over_resamples(len(x), bootstrap, tree.tau))


def tau_difference(truth: Floats, one: Floats, other: Floats, bootstrap: Bootstrap = DEFAULT) -> Estimate:
    """tau(one) - tau(other) on the same networks, each (n,); both are computed on the same resamples, so it is
    paired."""
    return tau_differences(truth, {"one": one, "other": other}, bootstrap)["one", "other"]


def tau_differences(
    truth: Floats, proxies: Mapping[str, Floats], bootstrap: Bootstrap = DEFAULT
) -> dict[tuple[str, str], Estimate]:
    """`tau_difference` of every ordered pair of `proxies` (n,); each proxy is resampled once."""
    trees = {name: KendallTree(proxy, truth) for name, proxy in proxies.items()}
    exact = {name: tree.tau(np.ones((1, len(truth)))) for name, tree in trees.items()}
    values = {name: _over_resamples(len(truth), bootstrap, tree.tau) for name, tree in trees.items()}
    return {
        (one, other): _estimate(exact[one] - exact[other], values[one] - values[other])
        for one in proxies
        for other in proxies
        if one != other
    }


def expected_best(values: Floats, k: int) -> float:
    """The expected largest of `k` of `values` (n,) drawn without replacement: the random-k baseline, exact."""
    ordered = np.sort(values)[::-1]
    n, remaining, total = len(ordered), 1.0, 0.0
    for position, value in enumerate(ordered[: n - k + 1].tolist()):
        # The chance that the best of the k is the one at `position`, given that no better one is among them.
        here = remaining * k / (n - position)
        total += here * value
        remaining -= here
    return total


def top_tenth(truth: Floats) -> Ints:
    """Indices of the best tenth (rounded down, at least one); ties at the edge go to the earlier rows."""
    count = max(1, math.floor(0.1 * len(truth) + 1e-9))
    return np.argsort(-truth, kind="stable")[:count]


def checked(truth: Sequence[float] | Floats, proxy: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    """Both columns as float arrays (n,); RankError where they cannot be compared."""
    y, x = np.asarray(truth, dtype=np.float64), np.asarray(proxy, dtype=np.float64)
    if y.ndim != 1 or y.shape != x.shape:
        raise RankError(f"truth has shape {y.shape} and proxy {x.shape}; both must be one column of equal length")
    if not len(y):
        raise RankError("there are no rows to compare; at least one network with truth and proxy is needed")
    if not (np.isfinite(y).all() and np.isfinite(x).all()):
        raise RankError("truth and proxy must be finite numbers; drop the rows that are not")
    return y, x


def _bootstrapped(x: Floats, y: Floats, bootstrap: Bootstrap, top: Sequence[int]) -> dict[str, Estimate]:
    tree, x_order, y_order = KendallTree(x, y), Order.of(x), Order.of(y)
    if len(x_order.starts) == 1 or len(y_order.starts) == 1:
        names = ["tau", "rho", "precision", *(f"{what}{k}" for k in top for what in ("best", "mean"))]
        return dict.fromkeys(names, Estimate(None))
    # A random order once: what remains tied is then cut at random, not by the order of the file.
    shuffled = np.random.default_rng(bootstrap.seed).permutation(len(x))
    first = shuffled[np.argsort(-x[shuffled], kind="stable")]

    def everything(weights: Floats) -> Floats:
        rows = [tree.tau(weights), spearman(x_order, y_order, weights), precision_at(x_order, y_order, weights, 0.1)]
        for k in top:
            rows += _top_k(y, first, weights, k)
        return np.stack(rows, axis=1)

    values = _over_resamples(len(x), bootstrap, everything)
    ones = np.ones((1, len(x)))
    exact: list[Floats] = [
        tree.tau(ones),
        spearman(x_order, y_order, ones),
        precision_at(x_order, y_order, ones, 0.1),
    ]
    names = ["tau", "rho", "precision"]
    for k in top:
        names += [f"best{k}", f"mean{k}"]
        chosen = y[np.argsort(-x, kind="stable")[:k]]
        exact += [np.array([chosen.max()]), np.array([chosen.mean()])]
    return {name: _estimate(exact[i], values[:, i]) for i, name in enumerate(names)}


def _top_k(y: Floats, first: Ints, weights: Floats, k: int) -> list[Floats]:
    """Best and mean truth of the first k draws of each resample, in the proxy's order."""
    drawn = weights[:, first]
    taken = np.clip(k - (np.cumsum(drawn, axis=1) - drawn), 0, drawn)
    truth = y[first]
    best = np.where(taken > 0, truth, -np.inf).max(axis=1)
    return [best, (taken * truth).sum(axis=1) / k]


def _best_over_ties(y: Floats, x: Floats, k: int) -> float:
    """The expected best truth of the k networks that x puts first, if the tie at the edge is cut at random."""
    edge = np.sort(x)[::-1][k - 1]
    certain, tied = y[x > edge], y[x == edge]
    floor = certain.max() if len(certain) else -np.inf
    return expected_best(np.maximum(tied, floor), k - len(certain))


def _spearman_estimate(x: Floats, y: Floats, bootstrap: Bootstrap) -> Estimate:
    a, b = Order.of(x), Order.of(y)
    values = _over_resamples(len(x), bootstrap, lambda w: spearman(a, b, w))
    return _estimate(spearman(a, b, np.ones((1, len(x)))), values)


def _over_resamples(n: int, bootstrap: Bootstrap, statistic: Callable[[Floats], Floats]) -> Floats:
    """`statistic(weights)` over all resamples, a few at a time."""
    rng = np.random.default_rng(bootstrap.seed)
    parts = [
        statistic(resample_weights(n, min(_RESAMPLES_AT_ONCE, bootstrap.resamples - done), rng))
        for done in range(0, bootstrap.resamples, _RESAMPLES_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _estimate(exact: Floats, values: Floats) -> Estimate:
    value = _defined(float(exact[0]))
    finite = values[np.isfinite(values)]
    # A figure that most resamples leave undefined has no interval worth printing.
    if value is None or len(finite) < max(1, len(values) // 2):
        return Estimate(value)
    low, high = np.percentile(finite, [2.5, 97.5])
    return Estimate(value, float(low), float(high))


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None
