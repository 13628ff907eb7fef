"""Aging evolution (Real et al. 2019) and NSGA-II (Deb et al. 2002), on feasible networks only."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.search.candidates import CodeArray, FloatArray
from pipeline.search.pool import FeasibleSpace
from pipeline.search.samplers.base import History, ProposalSampler

_POPULATION: Final = 20
_TOURNAMENT: Final = 5
_CHILDREN: Final = 32


class AgingEvolution(ProposalSampler):
    """One mutated gene of the best of 5 random members of the newest 20: the oldest die, not the worst."""

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        alive = np.flatnonzero(history.inside)[-_POPULATION:]
        if len(history) < _POPULATION or not len(alive):
            return problem.random(1, rng, history.seen)
        for _ in range(_TOURNAMENT):  # a parent whose neighbours are all known gives way to another
            drawn = rng.choice(alive, size=min(_TOURNAMENT, len(alive)), replace=False)
            parent = history.codes[drawn[np.argmax(history.scores[drawn])]]
            children = problem.proper(problem.mutants(np.tile(parent, (_CHILDREN, 1)), rng, 0.0), history.seen)
            if len(children):
                return children
        return children


class NSGA2(ProposalSampler):
    """Crossover and mutation of tournament winners among the 20 best by rank and crowding.

    For a front the ranks are by score and cost; under a limit alone, by score.
    """

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        if len(history) < _POPULATION or not history.inside.any():
            return problem.random(1, rng, history.seen)
        population = self._population(history)
        picks = rng.integers(len(population), size=(2, 2, _CHILDREN)).min(axis=0)  # lower index: better
        one, other = population[picks[0]], population[picks[1]]
        children = np.where(rng.random(one.shape) < 0.5, one, other)
        mutants = problem.mutants(children, rng, 1 / len(problem.space.cardinalities))
        keep = rng.random(_CHILDREN) < 0.1
        return np.where(keep[:, None], children, mutants)

    def _population(self, history: History) -> CodeArray:
        """The best rows, best first."""
        if self.front is None:
            return history.best_first()[:_POPULATION]
        # The whole history counts for a front, not only what is below the cap of this proposal.
        cost = self.problem.costs[self.front].of(history.codes)
        ranks, crowding = rank_and_crowding(np.stack([-history.scores, cost], axis=1))
        return history.codes[np.lexsort((-crowding, ranks))[:_POPULATION]]


def rank_and_crowding(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Non-domination rank from 0 and crowding distance of each row of `values` (n, objectives), lower is better."""
    no_worse = np.all(values[:, None] <= values[None], axis=2)
    better = np.any(values[:, None] < values[None], axis=2)
    dominates: NDArray[np.bool_] = np.logical_and(no_worse, better)
    ranks = np.full(len(values), np.inf)
    crowding = np.zeros(len(values))
    rank = 0
    while (left := np.isinf(ranks)).any():
        front = np.flatnonzero(left & ~dominates[left].any(axis=0))
        ranks[front] = rank
        crowding[front] = _crowding(values[front])
        rank += 1
    return ranks, crowding


def _crowding(front: FloatArray) -> FloatArray:
    distance = np.zeros(len(front))
    for column in front.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance
