"""Every way to rank the networks of `lite0_fewshot`, from the two files that it collects.

The ranker is the product's, unchanged, and ranks no network that it learns from: in five repetitions of three folds it
learns from the scores of the other two folds and of the networks that are only judged; a network's value is the mean
over the repetitions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import common
from benchmarks.ranking.lite0_fewshot import AVERAGED, ROOT
from benchmarks.ranking.lite0_problem import SPACE
from benchmarks.ranking.lite0_train import WAYS
from benchmarks.ranking.lite0_zero import PUBLISHED, ZERO_COST, zero_cost_rankings
from pipeline.ranking.features import Features
from pipeline.ranking.prior import Prior
from pipeline.ranking.ranker import Ranker
from pipeline.ranking.weighing import FEWEST as FEWEST_TO_WEIGH
from pipeline.ranking.weighing import weighed_without_own
from pipeline.ranking.weighted import Floats
from pipeline.spaces.architecture import Architecture

REPETITIONS, FOLDS = 5, 3
RANKED, LABELLED, WEIGHED, WITH_ROOT = ", ranker", ", ranker with labels", ", weighed ranker", " and root, mean"
SHOWN = {"macs": "MACs", "params": "parameters", "gradient_norm": "gradient norm"}


@dataclass(frozen=True)
class Networks:
    """All judged networks in the order of their numbers; those with a truth come first."""

    rows: list[dict[str, str]]

    @cached_property
    def archs(self) -> list[Architecture]:
        return [Architecture.parse(row["arch"]) for row in self.rows]

    @cached_property
    def true(self) -> NDArray[np.intp]:
        """The numbers of those that were trained alone."""
        return np.flatnonzero([bool(row["accuracy"]) for row in self.rows])

    @cached_property
    def others(self) -> NDArray[np.intp]:
        """The numbers of those that the ranker may always learn from: judged, never trained alone, drawn at random."""
        return np.arange(self.true.max() + 1, len(self.rows)) if len(self.true) else np.arange(0)

    @cached_property
    def truth(self) -> Floats:
        """Accuracy after training alone; the mean of two trainings where every network has had two."""
        again = [self.rows[number]["accuracy_again"] for number in self.true]
        first = self.column("accuracy")
        return (first + np.array(again, dtype=float)) / 2 if all(again) else first

    def column(self, name: str) -> Floats:
        """Of the networks with a truth."""
        return np.array([float(self.rows[number][name]) for number in self.true])


@dataclass(frozen=True)
class Scores:
    """What one way of one seed says: minus the cross-entropy and the region, by network."""

    score: dict[int, float]
    region: dict[int, int]

    def of(self, numbers: NDArray[np.intp]) -> Floats:
        """The scores of some networks."""
        return np.array([self.score[number] for number in numbers.tolist()])


def read_scores(path: Path) -> dict[tuple[int, str], Scores]:
    """By seed and way."""
    found: dict[tuple[int, str], Scores] = {}
    for row in common.read_rows(path):
        own = found.setdefault((int(row["seed"]), row["ranked_by"]), Scores({}, {}))
        own.score[int(row["network"])] = -float(row["cross_entropy"])
        own.region[int(row["network"])] = int(row["region"])
    return found


@dataclass(frozen=True)
class RankerAtWork:
    """The product's ranker on one way's scores, learned from other networks than those that it ranks."""

    networks: Networks
    scores: Scores

    def prior(self, learned: NDArray[np.intp]) -> Prior:
        """Learned from these networks' scores."""
        archs, where = self._archs(learned), self._where(learned)
        return Prior.learn(SPACE, self._regions, archs, self.scores.of(learned).tolist(), where)

    def values(self, labels: Floats | None = None) -> Floats:
        """One value for each network with a truth; with `labels`, the other folds' correct the ranker."""
        true = self.networks.true
        total = np.zeros(len(true))
        for known, asked in folds(len(true)):
            learned = np.concatenate([true[known], self._others])
            ranker: Prior | Ranker = self.prior(learned)
            if labels is not None and isinstance(ranker, Prior):
                features, numbers = Features(SPACE, self._regions), true[known]
                about = (self._archs(numbers), self.scores.of(numbers).tolist(), self._where(numbers))
                ranker = Ranker.fit(features, *about, labels[known].tolist(), ranker)
            numbers = true[asked]
            total[asked] += ranker(self._archs(numbers), self.scores.of(numbers).tolist(), self._where(numbers))
        return total / REPETITIONS

    def weighed(self, truth: Floats) -> Floats:
        """By the weights of its parts that all other networks' truth chooses."""
        true = self.networks.true
        prior = self.prior(self._others)
        parts = prior.standardised(self._archs(true), self.scores.of(true).tolist(), self._where(true))
        return np.array(weighed_without_own(parts, truth))

    @cached_property
    def _others(self) -> NDArray[np.intp]:
        return np.array([number for number in self.networks.others.tolist() if number in self.scores.score])

    @property
    def _regions(self) -> int:
        return max(self.scores.region.values()) + 1

    def _archs(self, numbers: NDArray[np.intp]) -> list[Architecture]:
        return [self.networks.archs[number] for number in numbers.tolist()]

    def _where(self, numbers: NDArray[np.intp]) -> list[int]:
        return [self.scores.region[number] for number in numbers.tolist()]


def folds(count: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Places that are learned from and places that are ranked, over all repetitions."""
    for repetition in range(REPETITIONS):
        order = np.random.default_rng(repetition).permutation(count)
        for fold in range(FOLDS):
            asked = order[fold::FOLDS]
            yield np.setdiff1d(order, asked), asked


def rankings(networks: Networks, scores: dict[str, Scores], truth: Floats) -> dict[str, Floats]:
    """Every way to rank the networks with a truth, of one seed."""
    columns = [name for name in ("macs", "params", *PUBLISHED) if name in networks.rows[0]]
    found = {SHOWN.get(name, name): networks.column(name) for name in columns}
    if set(ZERO_COST) <= set(networks.rows[0]):
        found |= zero_cost_rankings(networks.column)
    root = scores[ROOT].of(networks.true)
    for name in (ROOT, *WAYS):
        if name not in scores:
            continue
        raw, ranker = scores[name].of(networks.true), RankerAtWork(networks, scores[name])
        found[name] = raw
        if name + AVERAGED in scores:
            found[name + AVERAGED] = scores[name + AVERAGED].of(networks.true)
        if name != ROOT:
            found[name + WITH_ROOT] = (raw + root) / 2
        found[name + RANKED] = ranker.values()
        if len(truth) >= FEWEST_TO_WEIGH:
            found[name + LABELLED] = ranker.values(truth)
            found[name + WEIGHED] = ranker.weighed(truth)
    return found
