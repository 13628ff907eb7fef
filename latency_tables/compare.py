"""Two tables side by side: which blocks became slower or faster, beyond what noise explains."""

import math
from dataclasses import dataclass
from statistics import median

from latency_tables.table import LatencyTable, Row

_FLOOR_PERCENT = 3.0  # two measurements of a quiet machine differ by this much without a cause


@dataclass(frozen=True, slots=True)
class Change:
    """One block's median in two tables, and how large a change had to be to count, in percent of the first."""

    key: str
    before_ms: float
    after_ms: float
    noise_percent: float

    @property
    def percent(self) -> float:
        """How much slower it became, in percent of what it was; negative where it became faster."""
        return 100 * (self.after_ms / self.before_ms - 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Blocks that changed beyond noise (largest first), those in one table only, and the rest.

    `median_percent` is None where the tables have no row in common.
    """

    changed: tuple[Change, ...]
    unchanged: int
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    median_percent: float | None
    device_differs: str


def compare(before: LatencyTable, after: LatencyTable) -> Comparison:
    """What changed from `before` to `after`, row by row.

    A change counts where it is larger than both rows' spreads together, and than 3 %; one of a row that is
    unstable in either table never counts.
    """
    shared = [key for key in sorted(before.rows) if key in after.rows and before.rows[key].median_ms > 0]
    changes = [_change(key, before.rows[key], after.rows[key]) for key in shared]
    steady = [c for c in changes if not (before.rows[c.key].unstable or after.rows[c.key].unstable)]
    changed = [change for change in steady if abs(change.percent) > change.noise_percent]
    return Comparison(
        changed=tuple(sorted(changed, key=lambda change: -abs(change.percent))),
        unchanged=len(changes) - len(changed),
        only_before=tuple(sorted(set(before.rows) - set(after.rows))),
        only_after=tuple(sorted(set(after.rows) - set(before.rows))),
        median_percent=median(change.percent for change in changes) if changes else None,
        device_differs=before.device.differences(after.device),
    )


def _change(key: str, before: Row, after: Row) -> Change:
    noise = max(_FLOOR_PERCENT, math.hypot(before.spread_percent, after.spread_percent))
    return Change(key, before.median_ms, after.median_ms, noise)
