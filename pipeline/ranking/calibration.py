"""Scores of different sub-supernets on one scale.

Each child was trained by itself, so a score of 0.9 in one region need not mean 0.9 in another: pooled naively,
the published few-shot scores rank whole regions wrongly (docs/results/fewshot.md). A reference that has seen all
regions alike sets that right: the parent's scores of a few networks per region, or their scores after a short
private fine-tune.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.fewshot.decisions import SplitError


@dataclass(frozen=True, slots=True)
class RegionCalibration:
    """calibrated = scale * score + shift[region]: one common scale, a shift for each region."""

    scale: float
    shifts: tuple[float, ...]

    @classmethod
    def none(cls, regions: int) -> "RegionCalibration":
        """The calibration that changes nothing."""
        return cls(1.0, (0.0,) * regions)

    def __call__(self, scores: Sequence[float], regions: Sequence[int]) -> list[float]:
        """Scores of networks on the common scale; `regions[i]` is the region of network i."""
        return [self.scale * score + self.shifts[region] for score, region in zip(scores, regions, strict=True)]


def calibrate(
    scores: Sequence[float], reference: Sequence[float], regions: Sequence[int], count: int
) -> RegionCalibration:
    """The calibration under which each region has the mean that `reference` gives it, on the same networks.

    `scores` are by the children, `reference` by a judge that is fair to all regions. The scale is the ratio of
    the standard deviations inside the regions, so that between regions and within them a step means the same.
    Raises SplitError where one of the `count` regions has no network.
    """
    x, y, region = np.asarray(scores, float), np.asarray(reference, float), np.asarray(regions, int)
    members = [np.flatnonzero(region == number) for number in range(count)]
    empty = [str(number) for number, own in enumerate(members) if not len(own)]
    if empty:
        raise SplitError(f"calibration needs a network of every region; none is of region {', '.join(empty)}")
    scale = _within(y, members) / _within(x, members) if _within(x, members) > 0 else 1.0
    # A reference that does not vary inside any region says nothing about the scale.
    scale = scale if scale > 0 else 1.0
    return RegionCalibration(scale, tuple(float(y[own].mean() - scale * x[own].mean()) for own in members))


def _within(values: NDArray[np.float64], members: Sequence[NDArray[np.intp]]) -> float:
    """The standard deviation around the means of the regions."""
    return float(np.sqrt(sum(((values[own] - values[own].mean()) ** 2).sum() for own in members)))
