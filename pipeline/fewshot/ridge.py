"""Ridge regression whose penalty is chosen by leave-one-out error, in closed form."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_PENALTIES: Final = tuple(10.0 ** (exponent / 4) for exponent in range(-8, 17))


@dataclass(frozen=True)
class Ridge:
    """A fitted regression on standardised columns; `leave_one_out[i]` is the prediction for i from all others."""

    mean: Floats
    spread: Floats
    weights: Floats
    offset: float
    penalty: float
    leave_one_out: Floats = field(repr=False)

    @classmethod
    def fit(cls, x: Floats, y: Floats) -> "Ridge":
        """Fit `y` (n,) by the columns of `x` (n, columns); constant columns count for nothing."""
        mean, spread, offset = x.mean(0), x.std(0), float(y.mean())
        spread = np.where(spread > 1e-12, spread, np.inf)
        centred = y - offset
        u, s, vt = np.linalg.svd((x - mean) / spread, full_matrices=False)
        projected = u.T @ centred
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
        _, penalty, left_out = best
        return cls(mean, spread, vt.T @ (s / (s**2 + penalty) * projected), offset, penalty, left_out)

    def __call__(self, x: Floats) -> Floats:
        """The prediction for each row of `x`."""
        return np.asarray((x - self.mean) / self.spread @ self.weights + self.offset)
