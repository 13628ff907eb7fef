"""The default: a small accuracy predictor with uncertainty ranks feasible networks near the best and far from them."""

from typing import Final

import numpy as np

from pipeline.search.candidates import CodeArray
from pipeline.search.pool import Problem
from pipeline.search.predictor import Predictor
from pipeline.search.samplers.base import History, ProposalSampler

_START: Final = 10
_POOL: Final = 1024


class Guided(ProposalSampler):
    """Upper confidence bound of the predictor over mutants of the best networks and random feasible ones."""

    def propose(self, history: History, problem: Problem, rng: np.random.Generator) -> CodeArray:
        if len(history) < _START or not history.inside.any():
            return problem.random(1, rng, history.seen)
        predictor = Predictor(problem.space, problem.costs).fit(history.codes, history.scores)
        parents = history.best_first()[:10]
        parents = parents[rng.integers(len(parents), size=_POOL)]
        pool = np.concatenate([problem.mutants(parents, rng, 0.1), problem.random(_POOL, rng, history.seen)])
        pool = problem.proper(pool, history.seen)
        mean, deviation = predictor.predict(pool)
        return pool[np.argsort(-(mean + deviation), kind="stable")]
