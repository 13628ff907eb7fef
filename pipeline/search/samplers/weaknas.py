"""WeakNAS (Wu et al. 2021): a progression of weak predictors, each sampling uniformly in its predicted top."""

from typing import Final

import numpy as np

from pipeline.search.candidates import CodeArray, FloatArray
from pipeline.search.pool import FeasibleSpace
from pipeline.search.predictor import targets_of
from pipeline.search.samplers.base import History, ProposalSampler

_ROUND: Final = 10  # networks judged between two predictors, at least
_GROWTH: Final = 20  # and at least a twentieth of all: a forest of thousands takes long and changes little
_TOP: Final = 100
_POOL: Final = 2048


class WeakPredictors(ProposalSampler):
    """A network drawn uniformly from the unseen ones among the 100 that a random forest ranks highest.

    The forest is fitted anew every 10 judged networks, later whenever they have grown by a twentieth, on all judged
    until then. Beside the choices it sees known costs and counts of operations, and it learns how far a score is from
    the best one, on a logarithmic scale: on one-hot choices and plain scores alone some searches never get out of their
    top 100. Where all 100 are known the next 100 join.
    """

    _ranked: tuple[int, FeasibleSpace, CodeArray] | None = None

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        fitted_on = _last_round(len(history))
        if not fitted_on:
            return problem.random(1, rng, history.seen)
        if self._ranked is None or self._ranked[:2] != (fitted_on, problem):
            self._ranked = fitted_on, problem, self._best_first(history, fitted_on, problem)
        ranked = self._ranked[2]
        for end in range(_TOP, len(ranked) + _TOP, _TOP):
            top = problem.unseen(ranked[:end], history.seen)
            if len(top):
                return rng.permutation(top)
        return ranked[:0]

    def _best_first(self, history: History, fitted_on: int, problem: FeasibleSpace) -> CodeArray:
        """The pool, known networks included, by what a forest predicts from the first `fitted_on` judged."""
        from sklearn.ensemble import RandomForestRegressor

        learned = History(
            history.codes[:fitted_on], history.scores[:fitted_on], history.inside[:fitted_on], history.seen
        )
        pool = self._pool(learned, problem)
        forest = RandomForestRegressor(n_estimators=60, max_depth=10, random_state=self.seed)
        forest.fit(self._seen_by_forest(learned.codes), targets_of(learned.scores))
        order: CodeArray = pool[np.argsort(-forest.predict(self._seen_by_forest(pool)), kind="stable")]
        return order

    def _seen_by_forest(self, codes: CodeArray) -> FloatArray:
        choices = self.encoder.choices(codes)
        return np.hstack([choices, self.encoder.traits(codes, choices)])

    def _pool(self, history: History, problem: FeasibleSpace) -> CodeArray:
        """Everything, or in a large space random networks and mutants of the best."""
        if problem.everything is not None:
            return problem.everything
        rng = np.random.default_rng([self.seed, 3, len(history)])
        best = history.best_first()[:20]
        if not len(best):
            return problem.reservoir
        mutants = problem.mutants(best[rng.integers(len(best), size=_POOL)], rng, 0.06)
        return problem.proper(np.concatenate([problem.reservoir, mutants]), frozenset())


def _last_round(judged: int) -> int:
    """The largest of 10, 20, …, 200, 210, 220, 231, … that is at most `judged`; 0 below 10."""
    point = 0
    while (after := point + max(_ROUND, point // _GROWTH)) <= judged:
        point = after
    return point
