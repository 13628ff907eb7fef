"""Once-for-All's search (Cai et al. 2020): evolution on an accuracy predictor, here one that learns as it goes."""

from typing import Final

import numpy as np

from pipeline.search.candidates import CodeArray, FloatArray
from pipeline.search.engine import evolve
from pipeline.search.pool import FeasibleSpace
from pipeline.search.samplers.base import History, ProposalSampler

_START: Final = 20
_ROUND: Final = 10
_RIDGE: Final = 1.0


class PredictorEvolution(ProposalSampler):
    """The network that a short evolution finds best by a ridge regression of one-hot choices and known costs.

    Unlike `guided` it has no uncertainty: it trusts its predictor, as OFA's finder does.
    """

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        if len(history) < _START:
            return problem.random(1, rng, history.seen)
        weights = self._weights(history)
        found = evolve(lambda codes: self._features(codes) @ weights, problem, rng, generations=6, population=64)
        return found.codes

    def _weights(self, history: History) -> FloatArray:
        fitted_on = len(history) // _ROUND * _ROUND
        features = self._features(history.codes[:fitted_on])
        scores = history.scores[:fitted_on]
        gram = features.T @ features + _RIDGE * np.eye(features.shape[1])
        targets = (scores - scores.mean()) / (scores.std() + 1e-12)
        return np.asarray(np.linalg.solve(gram, features.T @ targets))

    def _features(self, codes: CodeArray) -> FloatArray:
        choices = self.encoder.choices(codes)
        return np.concatenate([choices, self.encoder.traits(codes, choices), np.ones((len(codes), 1))], axis=1)
