"""Random search: the baseline that every method must beat."""

import numpy as np

from pipeline.search.candidates import CodeArray
from pipeline.search.pool import FeasibleSpace
from pipeline.search.samplers.base import History, ProposalSampler


class RandomNetworks(ProposalSampler):
    """Feasible networks, uniform over distinct networks."""

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        return problem.random(1, rng, history.seen)
