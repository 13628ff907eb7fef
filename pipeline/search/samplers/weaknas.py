"""WeakNAS (Wu et al. 2021): a progression of weak predictors, each sampling uniformly in its predicted top."""

from typing import Any, Final

import numpy as np

from pipeline.search.candidates import CodeArray, FloatArray
from pipeline.search.pool import FeasibleSpace
from pipeline.search.samplers.base import History, ProposalSampler

_ROUND: Final = 10  # networks judged between two predictors, at least
_GROWTH: Final = 20  # and at least a twentieth of all: a forest of thousands takes long and changes little
_TOP: Final = 100
_POOL: Final = 2048


class WeakPredictors(ProposalSampler):
    """A network drawn uniformly from the 100 unseen ones that a random forest ranks highest.

    The forest is fitted anew every 10 judged networks, later whenever they have grown by a twentieth, on all judged
    until then. Drawing among *unseen* ones keeps it from getting stuck when the whole top is known.
    """

    _forest: tuple[int, Any] | None = None

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        fitted_on = _last_round(len(history))
        if not fitted_on:
            return problem.random(1, rng, history.seen)
        pool = problem.unseen(self._pool(history, fitted_on, problem), history.seen)
        top = pool[np.argsort(-self._predicted(history, fitted_on, pool), kind="stable")[:_TOP]]
        return rng.permutation(top)

    def _pool(self, history: History, fitted_on: int, problem: FeasibleSpace) -> CodeArray:
        """Everything, or in a large space random networks and mutants of the best."""
        if problem.everything is not None:
            return problem.everything
        rng = np.random.default_rng([self.seed, 3, fitted_on])
        best = history.best_first()[:20]
        if not len(best):
            return problem.reservoir
        mutants = problem.mutants(best[rng.integers(len(best), size=_POOL)], rng, 0.06)
        return problem.proper(np.concatenate([problem.reservoir, mutants]), history.seen)

    def _predicted(self, history: History, fitted_on: int, pool: CodeArray) -> FloatArray:
        from sklearn.ensemble import RandomForestRegressor

        if self._forest is None or self._forest[0] != fitted_on:
            forest = RandomForestRegressor(n_estimators=60, max_depth=10, random_state=self.seed)
            codes = history.codes[:fitted_on]
            self._forest = fitted_on, forest.fit(self.encoder.choices(codes), history.scores[:fitted_on])
        return np.asarray(self._forest[1].predict(self.encoder.choices(pool)))


def _last_round(judged: int) -> int:
    """The largest of 10, 20, …, 200, 210, 220, 231, … that is at most `judged`; 0 below 10."""
    point = 0
    while (after := point + max(_ROUND, point // _GROWTH)) <= judged:
        point = after
    return point
