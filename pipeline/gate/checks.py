"""From what is known about a model to answers: inside its limits, not worse than its baseline."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.budget import Budget, Limit
from pipeline.gate.budget_file import BudgetFile
from pipeline.gate.metrics import METRICS
from pipeline.gate.results import CheckResult, Status
from pipeline.gate.units import amount, change


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a model, or why it is not known. The truth is `value` or, for the `reason`, up to `most` (None: no
    bound is known)."""

    value: float | None
    reason: str = ""
    most: float | None = None
    source: str = "file"

    @property
    def exact(self) -> bool:
        """Whether the value is the whole truth."""
        return self.value is not None and self.most == self.value

    @staticmethod
    def of(value: float | None, reason: str = "") -> "Figure":
        """A figure that is exact where it is known."""
        return Figure(value, reason, value)


def limit_checks(model: str, budget: Budget, file: BudgetFile, figures: Mapping[str, Figure]) -> Iterator[CheckResult]:
    """One result per limit that is no latency. A metric that is not known fails."""
    for limit in budget.limits():
        if limit.name in figures:
            yield _judge(model, limit, file, figures[limit.name])


def _judge(model: str, limit: Limit, file: BudgetFile, figure: Figure) -> CheckResult:
    status: Status = "failed"
    if figure.value is None:
        message = f"{limit.name} is limited but not known: {figure.reason}"
    else:
        excess = limit.violation(figure.value)
        if excess > 0:
            side = "below" if limit.at_least else "above"
            text = amount(limit.name, figure.value, limit.limit)
            message = f"{text}, {change(excess)} {side} the limit"
        elif not limit.at_least and (figure.most is None or limit.violation(figure.most) > 0):
            status = "undecided"
            upto = "" if figure.most is None else f" and at most {amount(limit.name, figure.most)}"
            message = f"at least {amount(limit.name, figure.value)}{upto}, but {figure.reason}"
        else:
            status = "passed"
            message = f"{amount(limit.name, figure.value, limit.limit)}, {change(-excess)} to spare"
    return CheckResult(
        name=limit.name,
        expected=limit.limit,
        operator=">=" if limit.at_least else "<=",
        actual=figure.value,
        level=file.levels[limit.name],
        status=status,
        message=message,
        model=model,
        source=figure.source,
    )


@dataclass(frozen=True, slots=True)
class Before:
    """What a model was; None where the baseline does not have it.

    `unknown` says why there is nothing, or not all, to compare with; a figure that is missing without it fails.
    """

    figures: Mapping[str, float] | None
    unknown: str = ""


def baseline_checks(
    model: str, file: BudgetFile, figures: Mapping[str, Figure], before: Before
) -> Iterator[CheckResult]:
    """One result per compared metric that is no latency: by how much it grew (or fell, for accuracy).

    A model that the baseline does not have is held by its limits alone.
    """
    for name in sorted(file.compared & figures.keys()):
        status, actual, message = _compared(name, file, figures[name], before)
        yield CheckResult(
            name=f"{name} vs baseline",
            expected=_allowed(name, file),
            operator=">=" if METRICS[name].at_least else "<=",
            actual=actual,
            level=file.levels[name],
            status=status,
            message=message,
            model=model,
            source=figures[name].source,
        )


def _allowed(name: str, file: BudgetFile) -> float:
    return -file.tolerance[name] if METRICS[name].at_least else file.tolerance[name]


def _compared(name: str, file: BudgetFile, figure: Figure, before: Before) -> tuple[Status, float | None, str]:
    if before.figures is None:
        return "passed", None, before.unknown
    if figure.value is None:
        return "failed", None, f"{name} is compared but not known: {figure.reason}"
    if name not in before.figures and before.unknown:
        return "passed", None, before.unknown
    if name not in before.figures:
        return "failed", None, f"the baseline has no {name} of this model; --update-baseline adds it, on purpose"
    old, allowed = before.figures[name], _allowed(name, file)
    value = figure.value if figure.most is None else figure.most
    grown = relative_change(value, old)
    worse = grown < allowed if METRICS[name].at_least else grown > allowed
    told = f"{amount(name, old, value)} became {amount(name, value, old)} ({change(grown, True)})"
    message = f"{told}; allowed is {change(allowed, True)}"
    shown = grown if math.isfinite(grown) else None  # a document has no infinity
    if figure.most is None and not worse:
        return "undecided", shown, f"{message}; but {figure.reason}"
    return "failed" if worse else "passed", shown, message


def relative_change(now: float, before: float) -> float:
    """0.05 where `now` is 5 % more than `before`; against 0 everything but 0 is infinitely more."""
    if before == 0:
        return 0.0 if now == 0 else float("inf")
    return (now - before) / before
