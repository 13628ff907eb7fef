"""A small accuracy predictor with uncertainty: a Gaussian process on choices, known costs and option counts.

Two kernels are added. One compares every choice (a product of categorical kernels, one hyperparameter per factor) and
the traits: what is alike in all places. The other compares traits only: networks of equal cost and equal counts
of operations are alike wherever the operations stand. Hyper-parameters maximise the posterior under log-normal
priors (Rasmussen & Williams 2006, eq. 5.8 plus the prior).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtr

from pipeline.search.candidates import CodeArray, FloatArray
from pipeline.search.encoding import Encoder

_FIT_ON: Final = 256  # hyper-parameters need fewer points than predictions do
_STEPS: Final = 20


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Hyper-parameters. `choice` (factors,) and `trait` (traits,) weigh squared distances in the first kernel,
    `smooth` (traits,) in the second; `scales` are the two kernels' variances."""

    choice: FloatArray
    trait: FloatArray
    smooth: FloatArray
    scales: tuple[float, float]
    noise: float


class Predictor:
    """Predicts `targets_of` the scores: a scale on which the best networks are told apart."""

    def __init__(self, encoder: Encoder, hyperparameters: Hyperparameters) -> None:
        self._encoder, self._hyperparameters = encoder, hyperparameters
        self._choice_scale = np.sqrt(hyperparameters.choice / 2)[encoder.group_of]

    def fit(self, codes: CodeArray, scores: FloatArray) -> "Predictor":
        """Condition on codes (n, genes) with scores (n,)."""
        self._first, self._second = self._scaled(codes)
        kernel = self._kernel(self._first, self._second)
        kernel[np.diag_indices(len(kernel))] += self._hyperparameters.noise
        self._lower = np.linalg.cholesky(kernel)
        targets = targets_of(scores)
        self._weights = cho_solve((self._lower, True), targets)
        self.best = float(targets.max())
        return self

    def mean(self, codes: CodeArray) -> FloatArray:
        """Predicted target, shape (n,), of each row of `codes` (n, genes)."""
        return np.asarray(self._kernel(*self._scaled(codes)) @ self._weights)

    def predict(self, codes: CodeArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, both (n,), of the targets of `codes` (n, genes); the latter without noise."""
        kernel = self._kernel(*self._scaled(codes))
        explained = solve_triangular(self._lower, kernel.T, lower=True, check_finite=False)
        variance = sum(self._hyperparameters.scales) - np.einsum("ij,ij->j", explained, explained)
        return np.asarray(kernel @ self._weights), np.sqrt(np.maximum(variance, 1e-12))

    def expected_improvement(self, codes: CodeArray) -> FloatArray:
        """Expected improvement of each row of `codes` (n, genes) over the best target, shape (n,) (Jones et al. 1998,
        eq. 15)."""
        mean, deviation = self.predict(codes)
        gain = (mean - self.best) / deviation
        density = np.exp(-0.5 * gain**2) / np.sqrt(2 * np.pi)
        return np.asarray(deviation * (gain * ndtr(gain) + density))

    def _scaled(self, codes: CodeArray) -> tuple[FloatArray, FloatArray]:
        choices = self._encoder.choices(codes)
        traits = self._encoder.traits(codes, choices)
        first = np.concatenate([choices * self._choice_scale, traits * np.sqrt(self._hyperparameters.trait)], axis=1)
        return first, traits * np.sqrt(self._hyperparameters.smooth)

    def _kernel(self, first: FloatArray, second: FloatArray) -> FloatArray:
        one, two = self._hyperparameters.scales
        return one * np.exp(-_squared(first, self._first)) + two * np.exp(-_squared(second, self._second))


def targets_of(scores: FloatArray) -> FloatArray:
    """-log of the distance of scores (n,) to just above the best, standardised: differences among the best count most.

    "Just above" is by the distance from the best to the upper quartile, so units do not matter.
    """
    distance = scores.max() - scores
    targets = -np.log(distance + np.quantile(distance, 0.25) + 1e-3 * distance.std() + 1e-12)
    return np.asarray((targets - targets.mean()) / (targets.std() + 1e-12))


def learn_hyperparameters(encoder: Encoder, codes: CodeArray, scores: FloatArray) -> Hyperparameters:
    """The most probable hyper-parameters for the best (at most 256) of judged `codes` (n, genes), `scores` (n,)."""
    kept = np.sort(np.argsort(-scores, kind="stable")[:_FIT_ON])
    codes, scores = codes[kept], scores[kept]
    choices = encoder.choices(codes)
    evidence = _Evidence(
        _group_distances(choices, encoder.group_of),
        _column_distances(encoder.traits(codes, choices)),
        targets_of(scores),
    )
    found = minimize(evidence, evidence.prior_mean, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return evidence.unpack(found.x)


class _Evidence:
    """Negative log posterior of the log hyper-parameters, with its gradient."""

    def __init__(self, choices: FloatArray, traits: FloatArray, targets: FloatArray) -> None:
        self._choices, self._traits, self._targets = choices, traits, targets
        self._sizes = np.cumsum([len(choices), len(traits), len(traits)])
        counts = [len(choices), len(traits), len(traits), 2, 1]
        # A change of every choice is worth about one length scale, whatever the number of factors.
        choice_mean = np.log(1.5 / max(1, len(choices)))
        self.prior_mean = np.repeat([choice_mean, -2.0, -2.0, 0.0, -4.0], counts)
        self._prior_deviation = np.repeat([1.0, 1.0, 1.0, 0.7, 1.0], counts)

    def unpack(self, point: FloatArray) -> Hyperparameters:
        choice, trait, smooth, rest = np.split(np.exp(point), self._sizes)
        return Hyperparameters(choice, trait, smooth, (float(rest[0]), float(rest[1])), float(rest[2]))

    def __call__(self, point: FloatArray) -> tuple[float, FloatArray]:
        r = self.unpack(point)
        count = len(self._targets)
        exponent = np.tensordot(r.choice, self._choices, 1) + np.tensordot(r.trait, self._traits, 1)
        first = r.scales[0] * np.exp(-exponent)
        second = r.scales[1] * np.exp(-np.tensordot(r.smooth, self._traits, 1))
        kernel = first + second
        kernel[np.diag_indices(count)] += r.noise
        lower = np.linalg.cholesky(kernel)
        inverse = cho_solve((lower, True), np.eye(count))
        weights = inverse @ self._targets
        offset = (point - self.prior_mean) / self._prior_deviation
        value = 0.5 * self._targets @ weights + np.log(np.diag(lower)).sum() + 0.5 * offset @ offset
        slope = 0.5 * (inverse - np.outer(weights, weights))
        one, two = slope * first, slope * second
        gradient = np.concatenate(
            [
                -r.choice * (self._choices.reshape(-1, count * count) @ one.ravel()),
                -r.trait * (self._traits.reshape(-1, count * count) @ one.ravel()),
                -r.smooth * (self._traits.reshape(-1, count * count) @ two.ravel()),
                [one.sum(), two.sum(), r.noise * np.trace(slope)],
            ]
        )
        return float(value), gradient + offset / self._prior_deviation


def _squared(left: FloatArray, right: FloatArray) -> FloatArray:
    """Squared Euclidean distances, shape (len(left), len(right))."""
    product = left @ right.T
    norms = np.einsum("ij,ij->i", left, left)[:, None] + np.einsum("ij,ij->i", right, right)
    return np.asarray(np.maximum(norms - 2 * product, 0.0))


def _group_distances(columns: FloatArray, group_of: NDArray[np.intp]) -> FloatArray:
    """Half the squared distance within each group of columns, shape (groups, n, n): 1 for two different values."""
    groups = int(group_of[-1]) + 1 if len(group_of) else 0
    parts = [_squared(columns[:, group_of == g], columns[:, group_of == g]) / 2 for g in range(groups)]
    return np.stack(parts) if parts else np.zeros((0, len(columns), len(columns)))


def _column_distances(columns: FloatArray) -> FloatArray:
    """Squared distance in each column, shape (columns, n, n)."""
    return np.asarray((columns.T[:, :, None] - columns.T[:, None, :]) ** 2)
