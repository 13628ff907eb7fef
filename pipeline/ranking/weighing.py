"""How much each part of the ranker should count, by networks that were trained to the end."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pipeline.errors import PipelineError
from pipeline.ranking.prior import WEIGHTS, Weights
from pipeline.ranking.ridge import Floats
from pipeline.ranking.statistics import kendall_tau

FEWEST: Final = 20  # networks; fewer choose worse weights than the usual ones (docs/results/fewshot.md)
_SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_OF_SIZE: Final = (0.0, 0.5, 1.0, 1.5)
# Of tau, for each unit that weights are away from the usual ones: luck of a few networks should move nothing.
_COST: Final = 0.05
CHOICES: Final[tuple[Weights, ...]] = tuple((1 - share, share, size) for share in _SHARES for size in _OF_SIZE)


def weigh(parts: Floats, truth: Floats) -> Weights:
    """The weights by which the `parts` of networks, shape (n, 3), order them most as their `truth` does, shape (n,).

    They are taken from a coarse grid, and those that are far from the usual ones must be better by more. The usual ones
    where no order is defined. Raises PipelineError for fewer than 20 networks.
    """
    if len(truth) < FEWEST or parts.shape != (len(truth), len(WEIGHTS)):
        raise PipelineError(f"{len(truth)} networks with parts of shape {parts.shape}; {FEWEST} with 3 each are needed")
    return _best(parts, truth)


def weighed_without_own(parts: Floats, truth: Floats) -> list[float]:
    """Each network's value by the weights that all others choose: what weighing is worth on networks not seen.

    On the scale of weights that add up to 1.
    """
    return [_value(parts[own], _best(np.delete(parts, own, 0), np.delete(truth, own))) for own in range(len(truth))]


def _best(parts: Floats, truth: Floats) -> Weights:
    return max(CHOICES, key=lambda weights: _worth(parts, truth, weights))


def _worth(parts: Floats, truth: Floats, weights: Weights) -> float:
    tau = kendall_tau(parts @ np.array(weights), truth)
    away = abs(weights[0] - WEIGHTS[0]) + abs(weights[2] - WEIGHTS[2])
    return (-1.0 if tau is None else tau) - _COST * away


def _value(parts: Floats, weights: Sequence[float]) -> float:
    return float(parts @ np.array(weights)) / sum(weights)
