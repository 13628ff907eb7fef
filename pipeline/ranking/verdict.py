"""Whether a network is better than others: intervals that hold for one network, chosen among several.

A comparison with random networks of the same budget and recipe (Yang et al. 2020) says something about the search
only if a winner that is itself just one more random network is seldom called better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

Verdict = Literal["better", "worse", "not shown"]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference with its 95 % interval, in the unit of what was compared."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """What the interval says of the sign."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not shown"

    def scaled(self, factor: float) -> "Difference":
        """In another unit: all three times a positive `factor`."""
        return Difference(self.value * factor, self.low * factor, self.high * factor)


def against_random(accuracy: float, randoms: Sequence[float], chosen_among: int = 1) -> Difference:
    """The accuracy of one network minus the mean of `randoms` (n >= 2), as shares.

    The interval is Student's for a *new observation*, s * sqrt(1 + 1/n), since one trained network has luck of its
    own. A network that was the best of `chosen_among` by another score was given as many chances to be lucky: each
    side's error is divided by that number (Bonferroni), which holds whatever the score is worth.
    """
    if len(randoms) < 2:
        raise PipelineError(f"{len(randoms)} random networks say nothing about their spread; at least 2 are needed")
    if chosen_among < 1:
        raise PipelineError(f"a network was chosen among {chosen_among}; at least itself is one")
    from scipy.stats import t

    n = len(randoms)
    tail = (1 - CONFIDENCE) / 2 / chosen_among
    reach = float(t.ppf(1 - tail, n - 1)) * stdev(randoms) * (1 + 1 / n) ** 0.5
    value = accuracy - fmean(randoms)
    return Difference(value, value - reach, value + reach)


def on_the_same_images(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Difference:
    """The accuracy of one network minus that of another, from which of the same n images each got right, shape (n,).

    Images that both get right, or both wrong, say nothing, which makes the interval tighter than that of two separate
    accuracies. It is Wald's with half an image added to each kind of disagreement (Agresti and Min 2005), so that
    few disagreements give no interval of width 0. It holds for these two trained networks, not for trainings anew.
    """
    if ours.shape != theirs.shape or ours.ndim != 1 or not len(ours):
        raise PipelineError(f"answers of shapes {ours.shape} and {theirs.shape} cannot be paired; one each is needed")
    from scipy.stats import norm

    n = len(ours) + 2
    won = int((ours & ~theirs).sum()) + 0.5
    lost = int((theirs & ~ours).sum()) + 0.5
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * (won + lost - (won - lost) ** 2 / n) ** 0.5 / n
    value = (won - lost) / n
    return Difference(float(ours.mean() - theirs.mean()), value - reach, value + reach)


def random_baseline(accuracy: float, randoms: Sequence[float], chosen_among: int = 1) -> dict[str, Any]:
    """The random networks beside an accuracy, as a run's documents have it: relative improvement in percent."""
    mean = fmean(randoms)
    # Where no random network was ever right, the improvement is told in points.
    relative = against_random(accuracy, randoms, chosen_among).scaled(100 / (mean or 1.0))
    return {
        "mean_accuracy": mean,
        "std_accuracy": stdev(randoms),
        "n": len(randoms),
        "accuracies": list(randoms),
        "relative_improvement_percent": relative.value,
        "relative_improvement_ci95": [relative.low, relative.high],
        "improvement_shown": relative.verdict == "better",
        "verdict": relative.verdict,
    }
