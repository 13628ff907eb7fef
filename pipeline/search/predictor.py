"""A small accuracy predictor with uncertainty, fitted on what a search has judged so far."""

from typing import Self

import numpy as np

from pipeline.search.candidates import CandidateSpace, CodeArray, FloatArray
from pipeline.search.costs import Costs


class Predictor:
    """Bayesian ridge regression on one-hot genes and known costs."""

    def __init__(self, space: CandidateSpace, costs: Costs, ridge: float = 1.0) -> None:
        self._space, self._costs, self._ridge = space, costs, ridge

    def fit(self, codes: CodeArray, scores: FloatArray) -> Self:
        """Fit on codes (n, genes) with scores (n,)."""
        costs = self._cost_features(codes)
        self._cost_mean, self._cost_scale = costs.mean(axis=0), costs.std(axis=0) + 1e-12
        self._mean, self._scale = float(scores.mean()), float(scores.std()) + 1e-12
        features = self._features(codes)
        self._precision = features.T @ features + self._ridge * np.eye(features.shape[1])
        self._weights = np.linalg.solve(self._precision, features.T @ ((scores - self._mean) / self._scale))
        return self

    def predict(self, codes: CodeArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the score of each row."""
        features = self._features(codes)
        variance = np.einsum("ij,ji->i", features, np.linalg.solve(self._precision, features.T))
        return features @ self._weights * self._scale + self._mean, np.sqrt(variance) * self._scale

    def _cost_features(self, codes: CodeArray) -> FloatArray:
        return np.stack([np.log(np.maximum(value, 1e-9)) for value in self._costs.values(codes).values()], axis=1)

    def _features(self, codes: CodeArray) -> FloatArray:
        active = self._space.active(codes)
        parts = [
            ((codes[:, [gene]] == np.arange(options)) & active[:, [gene]]).astype(np.float64)
            for gene, options in enumerate(self._space.cardinalities)
            if options > 1
        ]
        costs = (self._cost_features(codes) - self._cost_mean) / self._cost_scale
        return np.concatenate([*parts, costs], axis=1)
