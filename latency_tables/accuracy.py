"""How far predictions are from measurements, in the figures that people compare tables by."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from latency_tables.errors import TableError
from latency_tables.table import ErrorReport

Array = NDArray[np.float64]


def error_report(predicted_ms: Sequence[float], measured_ms: Sequence[float]) -> ErrorReport:
    """The error of whole-network predictions; TableError with fewer than two networks.

    Percentages are of the measured value. The interval's ends are of the predicted one, so that they can be
    applied to a prediction; they are the conformal quantiles of split prediction (Papadopoulos 2002): the
    ceil((n + 1) * 0.975)-th residual from each end, the outermost where there are too few.
    """
    predicted, measured = np.asarray(predicted_ms, float), np.asarray(measured_ms, float)
    if len(measured) < 2 or len(predicted) != len(measured):
        raise TableError(f"an error needs at least two measured networks, not {len(measured)}")
    if (predicted <= 0).any() or (measured <= 0).any():
        raise TableError("a network's latency is 0 ms, as predicted or as measured; an error needs times above 0")
    relative = np.abs(predicted - measured) / measured
    residuals = np.sort((measured - predicted) / predicted)
    n = len(residuals)
    rank = min(n, math.ceil((n + 1) * 0.975))
    return ErrorReport(
        networks=n,
        mape_percent=float(100 * relative.mean()),
        rmse_ms=float(np.sqrt(np.mean((predicted - measured) ** 2))),
        spearman=spearman(predicted, measured),
        within_5_percent=float(np.mean(relative <= 0.05)),
        within_10_percent=float(np.mean(relative <= 0.10)),
        worst_under_percent=float(100 * max(0.0, np.max(1 - predicted / measured))),
        residual_low=float(residuals[n - rank]),
        residual_high=float(residuals[rank - 1]),
    )


def spearman(one: Array, other: Array) -> float:
    """Spearman's rank correlation of two columns (n,), ties sharing their mean rank; 0 where either is constant."""
    ranks = [_ranks(np.asarray(values, float)) for values in (one, other)]
    centred = [values - values.mean() for values in ranks]
    norm = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float(np.clip(centred[0] @ centred[1] / norm, -1, 1)) if norm else 0.0


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Array = (ends - (counts - 1) / 2)[inverse]
    return ranks
