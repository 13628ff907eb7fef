"""The default: a Gaussian process learns from every judged network and points at the most promising next one."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.search.candidates import CodeArray
from pipeline.search.engine import evolve
from pipeline.search.pool import Problem
from pipeline.search.predictor import Predictor, Relevances, learn_relevances
from pipeline.search.samplers.base import History, ProposalSampler

_START: Final = 5  # random networks before the first prediction
_LEARN_FROM: Final = 512  # judged networks that predictions are conditioned on, the best and the newest
_GENERATIONS: Final = 6
_PARENTS: Final = 48
_UNSURE: Final = 1024  # rows whose uncertainty is computed, after a look at the mean of all


class Guided(ProposalSampler):
    """Expected improvement over everything feasible, or, in a large space, over what a small evolution on the
    predictor finds from the best networks. Hyper-parameters are learned anew whenever the history has grown by a
    quarter, from that history alone, so that a resumed search does the same."""

    _learned: tuple[int, Relevances] | None = None

    def propose(self, history: History, problem: Problem, rng: np.random.Generator) -> CodeArray:
        if len(history) < _START or not history.inside.any():
            return problem.random(1, rng, history.seen)
        predictor = self._predictor(history)
        everything = problem.everything
        if everything is not None:
            pool = problem.unseen(everything, history.seen)
        else:
            pool = problem.unseen(self._evolved(history, problem, predictor, rng), history.seen)
        if len(pool) > _UNSURE:
            pool = pool[np.argsort(-predictor.mean(pool), kind="stable")[:_UNSURE]]
        return pool[np.argsort(-predictor.expected_improvement(pool), kind="stable")] if len(pool) else pool

    def _predictor(self, history: History) -> Predictor:
        due = learning_point(len(history))
        if self._learned is None or self._learned[0] != due:
            self._learned = due, learn_relevances(self.encoder, history.codes[:due], history.scores[:due])
        kept = _worth_learning(history)
        return Predictor(self.encoder, self._learned[1]).fit(history.codes[kept], history.scores[kept])

    def _evolved(self, history: History, problem: Problem, predictor: Predictor, rng: np.random.Generator) -> CodeArray:
        """Candidates from a short evolution that maximises the predicted score."""
        some = problem.reservoir[rng.integers(len(problem.reservoir), size=16)]
        start = np.concatenate([history.best_first()[:_PARENTS], some])
        return evolve(predictor.mean, problem, rng, _GENERATIONS, _PARENTS, start).codes


def learning_point(judged: int) -> int:
    """The largest of 5, 7, 9, 12, 15, 19, … (a quarter more each time) that is at most `judged`."""
    point = _START
    while (after := point + max(2, point // 4)) <= judged:
        point = after
    return point


def _worth_learning(history: History) -> NDArray[np.intp]:
    """Indices of the judged networks to condition on: all, or the best three quarters and the newest."""
    if len(history) <= _LEARN_FROM:
        return np.arange(len(history))
    newest = _LEARN_FROM // 4
    order = np.argsort(-history.scores[:-newest], kind="stable")[: _LEARN_FROM - newest]
    return np.concatenate([np.sort(order), np.arange(len(history) - newest, len(history))])
