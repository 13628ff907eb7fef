"""What the gate found: one result per question, and what a list of them means."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warn"]
Status = Literal["passed", "failed", "undecided"]
Operator = Literal["<=", ">="]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One question and its answer.

    `name` is the metric ("latency_ms", "size_mb", …), with " vs baseline" behind it where the change against
    a baseline was judged; expected and actual are then changes relative to the baseline (0.05 is 5 % more).
    `actual` is None where the metric is not known, which never passes, or where a baseline does not have the model,
    which does. `interval` bounds `actual` where it was
    measured or predicted. `source` says where `actual` comes from ("file", "predicted by …", "measured on …").
    """

    name: str
    expected: float
    operator: Operator
    actual: float | None
    level: Level
    status: Status
    message: str
    model: str = ""
    device: str = ""
    source: str = "file"
    interval: tuple[float, float] | None = None

    @property
    def passed(self) -> bool:
        """Whether the answer is a clear yes."""
        return self.status == "passed"

    @property
    def blocks(self) -> bool:
        """Whether this result stops a merge."""
        return self.level == "error" and not self.passed

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"passed": self.passed}


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one run of the gate; `notes` are remarks that judge nothing."""

    results: tuple[CheckResult, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing stops a merge."""
        return not any(result.blocks for result in self.results)

    @property
    def exit_code(self) -> int:
        """0 passed, 1 a limit is violated, 3 nothing is violated but something could not be decided."""
        if self.passed:
            return 0
        return 1 if any(result.blocks and result.status == "failed" for result in self.results) else 3

    def as_dict(self) -> dict[str, Any]:
        """The document that `pocketnas check --json` prints."""
        return {
            "passed": self.passed,
            "checks": [result.as_dict() for result in self.results],
            "notes": list(self.notes),
        }


def count(results: Sequence[CheckResult]) -> dict[Status, int]:
    """How many results have each status."""
    counts: dict[Status, int] = {"passed": 0, "failed": 0, "undecided": 0}
    for result in results:
        counts[result.status] += 1
    return counts
