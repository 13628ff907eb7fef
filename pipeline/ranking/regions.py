"""How rankings fare inside the regions of a space, and how far the regions' scales are apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.ranking.statistics import DEFAULT, Bootstrap, Estimate, tau_estimate
from pipeline.ranking.weighted import Floats, Order


@dataclass(frozen=True, slots=True)
class RegionRow:
    """One region: how well the proxy ranks inside it, and how it rates the region as a whole.

    `residual` is the mean of (rank by proxy - rank by truth) / n over the region, ranks being taken over all
    regions: regions whose residuals differ are not on one scale, and pooling their scores misleads.
    """

    region: str
    n: int
    kendall_tau: Estimate
    residual: float


def region_table(
    truth: Floats, proxy: Floats, regions: Sequence[str], bootstrap: Bootstrap = DEFAULT
) -> list[RegionRow]:
    """One row for each distinct name in `regions` (shape (n,)), sorted by name."""
    names = np.asarray(regions)
    ones = np.ones((1, len(truth)))
    difference = (Order.of(proxy).mid_ranks(ones)[0] - Order.of(truth).mid_ranks(ones)[0]) / len(truth)
    rows = []
    for name in sorted(set(regions)):
        own = np.flatnonzero(names == name)
        tau = tau_estimate(proxy[own], truth[own], bootstrap)
        rows.append(RegionRow(name, len(own), tau, float(difference[own].mean())))
    return rows
