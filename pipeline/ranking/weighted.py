"""Rank statistics of one sample under many integer weightings at once: what a bootstrap needs.

A resample drawn with replacement is the same sample with whole-number weights, so everything that depends
only on the order of the values (sorting, ties, the merge tree of Kendall's tau) is worked out once, and each
resample costs a few passes over an array. Every function takes `weights` of shape (resamples, n), whole
numbers as float64, and returns one value per resample, NaN where it is undefined.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Order:
    """The order of some values: the permutation that sorts them and where each run of equal ones begins."""

    by_value: Ints  # indices, ascending by value
    starts: Ints  # positions in `by_value` at which a new value begins
    dense: Ints  # the number of distinct smaller values, per element

    @classmethod
    def of(cls, values: Floats) -> "Order":
        """The order of `values`, shape (n,)."""
        by_value = np.argsort(values, kind="stable")
        changed = np.flatnonzero(np.diff(values[by_value]) != 0) + 1
        starts = np.concatenate((np.zeros(min(1, len(values)), dtype=np.intp), changed))
        dense = np.empty(len(values), dtype=np.intp)
        new_run = np.zeros(len(values), dtype=np.intp)
        new_run[changed] = 1
        dense[by_value] = np.cumsum(new_run)
        return cls(by_value, starts, dense)

    def group_weights(self, weights: Floats) -> Floats:
        """The weight of each distinct value, ascending; shape (resamples, distinct)."""
        return np.asarray(np.add.reduceat(weights[:, self.by_value], self.starts, axis=1))

    def mid_ranks(self, weights: Floats) -> Floats:
        """The mid-rank of each element (1 is the smallest); elements of weight 0 get a value too."""
        groups = self.group_weights(weights)
        below = np.cumsum(groups, axis=1) - groups
        return np.asarray((below + (groups + 1) / 2)[:, self.dense])

    def top_shares(self, weights: Floats, k: Floats) -> Floats:
        """How much of each element belongs to the `k` largest, from 0 to 1; ties at the edge share what is left.

        That is the expectation over breaking ties at random, so a predictor gains nothing by being coarse.
        """
        groups = self.group_weights(weights)
        above = np.sum(groups, axis=1, keepdims=True) - np.cumsum(groups, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(groups > 0, (k[:, None] - above) / groups, 0.0)
        return np.asarray(np.clip(share, 0.0, 1.0)[:, self.dense])


class KendallTree:
    """Kendall's tau-b of two fixed samples under any weights, in O(n log n) for each weighting.

    Discordant pairs are inversions of y in the order of x; they are counted by splitting the values of y
    into halves by one bit of their dense rank after the other.
    """

    def __init__(self, x: Floats, y: Floats) -> None:
        self._x, self._y = Order.of(x), Order.of(y)
        both = self._x.dense * (int(self._y.dense.max(initial=0)) + 1) + self._y.dense
        self._both = Order.of(both.astype(np.float64))
        # Equal x in ascending y: such pairs are then no inversions.
        first = self._both.by_value
        ranks = self._y.dense[first]
        self._levels: list[tuple[Ints, Floats, Ints]] = []
        for bit in reversed(range(int(ranks.max(initial=0)).bit_length())):
            order = np.argsort(ranks >> (bit + 1), kind="stable")
            group = (ranks >> (bit + 1))[order]
            begins = np.flatnonzero(np.diff(group, prepend=-1))
            run = np.repeat(begins, np.diff(np.append(begins, len(group))))
            ones = ((ranks[order] >> bit) & 1).astype(np.float64)
            self._levels.append((first[order], ones, run))

    def discordant(self, weights: Floats) -> Floats:
        """The weight of the pairs that x and y order oppositely, shape (resamples,), of `weights` (resamples, n)."""
        total = np.zeros(len(weights))
        for order, ones, run in self._levels:
            local = weights[:, order]
            high = local * ones
            before = np.cumsum(high, axis=1)
            before -= high
            # What was counted before the group began does not stand in front of this element's group mates.
            before -= before[:, run]
            local -= high
            total += np.einsum("rn,rn->r", local, before)
        return total

    def tau(self, weights: Floats) -> Floats:
        """Kendall's tau-b, shape (resamples,); NaN where x or y is constant in the resample."""
        pairs = _pairs(weights.sum(axis=1))
        tied_x = _pairs(self._x.group_weights(weights)).sum(axis=1)
        tied_y = _pairs(self._y.group_weights(weights)).sum(axis=1)
        tied_both = _pairs(self._both.group_weights(weights)).sum(axis=1)
        balance = pairs - tied_x - tied_y + tied_both - 2 * self.discordant(weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.sqrt((pairs - tied_x) * (pairs - tied_y))
            return np.asarray(np.where(scale > 0, balance / scale, np.nan))


def spearman(x: Order, y: Order, weights: Floats) -> Floats:
    """Spearman's rho (Pearson's correlation of mid-ranks), shape (resamples,)."""
    n = weights.sum(axis=1, keepdims=True)
    a, b = x.mid_ranks(weights) - (n + 1) / 2, y.mid_ranks(weights) - (n + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
        return np.asarray(np.where(scale > 0, (weights * a * b).sum(axis=1) / scale, np.nan))


def precision_at(x: Order, y: Order, weights: Floats, fraction: float) -> Floats:
    """The share of the top `fraction` by x that is in the top `fraction` by y, shape (resamples,)."""
    k = np.maximum(1.0, np.floor(fraction * weights.sum(axis=1) + 1e-9))
    overlap = weights * x.top_shares(weights, k) * y.top_shares(weights, k)
    return np.asarray(overlap.sum(axis=1) / k)


def resample_weights(n: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each of `n` elements is drawn in each sample of n with replacement, shape (resamples, n)."""
    draws = rng.integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(draws.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def _pairs(counts: Floats) -> Floats:
    return counts * (counts - 1) / 2
