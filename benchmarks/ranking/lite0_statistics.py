"""Kendall's tau over training seeds and networks together, overall and inside bands of MACs.

A resample draws seeds with replacement, and networks with replacement inside each band: the same for every ranking, so
differences are paired. Of three seeds such an interval can be too narrow; Student's over the seeds is told beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.ranking.weighted import Floats, KendallTree, resample_weights

RESAMPLES = 4000


@dataclass(frozen=True)
class Taus:
    """Tau of one ranking: by seed, shape (seeds,), and by seed and resample of networks, (seeds, resamples)."""

    exact: Floats
    resampled: Floats

    def minus(self, other: "Taus") -> "Taus":
        """The paired difference."""
        return Taus(self.exact - other.exact, self.resampled - other.resampled)


@dataclass(frozen=True)
class Judge:
    """Compares rankings with the truth of the same networks, shape (n,); `bands` says which band each is in."""

    truth: Floats
    bands: NDArray[np.intp]
    seeds: int

    @cached_property
    def _members(self) -> list[NDArray[np.intp]]:
        return [np.flatnonzero(self.bands == band) for band in sorted(set(self.bands.tolist()))]

    @cached_property
    def _weights(self) -> Floats:
        rng = np.random.default_rng(0)
        weights = np.zeros((RESAMPLES, len(self.truth)))
        for own in self._members:
            weights[:, own] = resample_weights(len(own), RESAMPLES, rng)
        return weights

    @cached_property
    def _drawn(self) -> NDArray[np.intp]:
        return np.random.default_rng(1).integers(self.seeds, size=(RESAMPLES, self.seeds))

    def overall(self, rankings: Sequence[Floats]) -> Taus:
        """Over all networks; one ranking for each seed."""
        return self._taus(rankings, [np.arange(len(self.truth))])

    def inside(self, rankings: Sequence[Floats]) -> Taus:
        """The mean of the bands' own."""
        return self._taus(rankings, self._members)

    def interval(self, taus: Taus) -> tuple[float, float]:
        """95 % over seeds and networks together."""
        means = taus.resampled[self._drawn.T, np.arange(RESAMPLES)].mean(0)
        low, high = np.nanpercentile(means, [2.5, 97.5])
        return float(low), float(high)

    def _taus(self, rankings: Sequence[Floats], groups: Sequence[NDArray[np.intp]]) -> Taus:
        exact, resampled = [], []
        for ranking in rankings:
            trees = [(own, KendallTree(ranking[own], self.truth[own])) for own in groups]
            # A resample in which a band has one network only, or ties alone, tells nothing of that band.
            with np.errstate(invalid="ignore", divide="ignore"):
                exact.append(np.nanmean([tree.tau(np.ones((1, len(own))))[0] for own, tree in trees]))
                resampled.append(np.nanmean([tree.tau(self._weights[:, own]) for own, tree in trees], axis=0))
        return Taus(np.array(exact), np.array(resampled))


def reliability(noise: float, spread: float) -> float:
    """The share of the truth's variance that is no noise, both as standard deviations."""
    return 1 - (noise / spread) ** 2


def best_tau(count: int, share: float, draws: int = 2000) -> float:
    """The tau that perfect knowledge reaches with a truth of that reliability, by simulation of normal noise."""
    rng = np.random.default_rng(0)
    known = rng.normal(0, share**0.5, (draws, count))
    noisy = known + rng.normal(0, (1 - share) ** 0.5, known.shape)
    ones = np.ones((1, count))
    return float(np.mean([KendallTree(a, b).tau(ones)[0] for a, b in zip(known, noisy, strict=True)]))
