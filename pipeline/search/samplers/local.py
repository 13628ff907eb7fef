"""Local search: the simplest method that is hard to beat where evaluations are exact (White et al. 2021)."""

from typing import Final

import numpy as np

from pipeline.search.candidates import CodeArray
from pipeline.search.pool import FeasibleSpace
from pipeline.search.samplers.base import History, ProposalSampler

_START: Final = 10


class LocalSearch(ProposalSampler):
    """An unseen neighbour (one gene changed) of the best network that still has one, in random order."""

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        if len(history) < _START:
            return problem.random(1, rng, history.seen)
        for centre in history.best_first():
            around = problem.proper(neighbours(centre, problem.space.cardinalities), history.seen)
            if len(around):
                return rng.permutation(around)
        return problem.random(1, rng, history.seen)


def neighbours(row: CodeArray, cardinalities: tuple[int, ...]) -> CodeArray:
    """Every row that differs from `row` (genes,) in one gene."""
    changes = [
        (gene, option) for gene, options in enumerate(cardinalities) for option in range(options) if option != row[gene]
    ]
    around = np.tile(row, (len(changes), 1))
    for number, (gene, option) in enumerate(changes):
        around[number, gene] = option
    return around
