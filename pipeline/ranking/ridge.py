"""Ridge regression whose penalty is chosen by leave-one-out error, in closed form."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_PENALTIES: Final = tuple(10.0 ** (exponent / 4) for exponent in range(-8, 17))


@dataclass(frozen=True)
class Ridge:
    """A fitted regression on standardised columns; `leave_one_out[i]` is the prediction for i from all others, and
    `explained` the share of the variance of what was fitted that these predictions tell, at least 0.

    A column's `belief` multiplies it after it is standardised: the penalty on it falls with the square, so columns
    that are believed less need more evidence.
    """

    mean: Floats
    spread: Floats
    belief: Floats
    weights: Floats
    offset: float
    penalty: float
    explained: float
    leave_one_out: Floats = field(repr=False)

    @classmethod
    def fit(cls, x: Floats, y: Floats, belief: Floats | None = None) -> "Ridge":
        """Fit `y` (n,) by the columns of `x` (n, columns); constant columns count for nothing.

        `belief` (columns,) is 1 for every column where it is not given.
        """
        belief = np.ones(x.shape[1]) if belief is None else belief
        mean, spread, offset = x.mean(0), x.std(0), float(y.mean())
        spread = np.where(spread > 1e-12, spread, np.inf)
        centred = y - offset
        u, s, vt = np.linalg.svd((x - mean) / spread * belief, full_matrices=False)
        projected = u.T @ centred
        variance = float((centred**2).mean())
        best: tuple[float, float, Floats] | None = None
        for penalty in _PENALTIES:
            shrink = s**2 / (s**2 + penalty)
            # The hat matrix's diagonal turns residuals into leave-one-out residuals; 1/n is the offset's share.
            leverage = (u**2 * shrink).sum(1) + 1 / len(y)
            residual = (centred - u @ (shrink * projected)) / np.maximum(1 - leverage, 1e-6)
            error = float((residual**2).mean())
            if best is None or error < best[0]:
                best = error, penalty, y - residual
        if best is None:
            raise RuntimeError("unreachable: there are penalties to try")
        error, penalty, left_out = best
        explained = max(0.0, 1 - error / variance) if variance > 0 else 0.0
        weights = vt.T @ (s / (s**2 + penalty) * projected)
        return cls(mean, spread, belief, weights, offset, penalty, explained, left_out)

    def __call__(self, x: Floats) -> Floats:
        """The prediction for each row of `x`."""
        return np.asarray((x - self.mean) / self.spread * self.belief @ self.weights + self.offset)
