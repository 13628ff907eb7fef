"""An interval for the middle of noisy values that assumes nothing of the noise but symmetry.

Hodges and Lehmann (1963): the pairwise (Walsh) averages of the values, cut off by the quantiles of Wilcoxon's
signed-rank statistic. One preempted measurement in ten moves it hardly at all, where it would ruin a mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle of some values and bounds, each of which it exceeds with at most the asked probability."""

    middle: float
    low: float
    high: float


def middle_interval(values: Sequence[float], alpha: float) -> Interval:
    """The pseudo-median of `values`; each bound is wrong with probability at most `alpha` (one-sided).

    A bound is infinite where there are too few values to give any at that level (fewer than -log2(alpha)).
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    rows, columns = np.triu_indices(len(x))
    walsh = np.sort((x[rows] + x[columns]) / 2)
    cut = _cut(len(x), alpha)
    if cut is None:
        return Interval(float(np.median(walsh)), -np.inf, np.inf)
    return Interval(float(np.median(walsh)), float(walsh[cut]), float(walsh[-1 - cut]))


@lru_cache(maxsize=64)
def _cut(n: int, alpha: float) -> int | None:
    """The largest c with P(W <= c) <= alpha for Wilcoxon's signed-rank statistic W of n values, exactly."""
    probabilities = np.zeros(n * (n + 1) // 2 + 1)
    probabilities[0] = 1.0
    for rank in range(1, n + 1):  # each rank is in the sum with probability 1/2
        shifted = np.zeros_like(probabilities)
        shifted[rank:] = probabilities[:-rank]
        probabilities = (probabilities + shifted) / 2
    below = int(np.searchsorted(np.cumsum(probabilities), alpha * (1 + 1e-12), side="right"))
    return below - 1 if below else None
