"""From what is known about a model to answers: inside its limits, not worse than its baseline."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.budget import Budget, Limit
from pipeline.gate.budget_file import HIGHER_IS_BETTER, BudgetFile
from pipeline.gate.results import CheckResult, Operator, Status
from pipeline.gate.units import amount, change


@dataclass(frozen=True, slots=True)
class Metric:
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
    def of(value: float | None, reason: str = "") -> "Metric":
        """A figure that is exact where it is known."""
        return Metric(value, reason, value)


def limit_checks(model: str, budget: Budget, file: BudgetFile, metrics: Mapping[str, Metric]) -> Iterator[CheckResult]:
    """One result per limit that is no latency. A metric that is not known fails."""
    for limit in budget.limits():
        if limit.name in metrics:
            yield _judge(model, limit, file, metrics[limit.name])


def _judge(model: str, limit: Limit, file: BudgetFile, metric: Metric) -> CheckResult:
    operator: Operator = ">=" if limit.at_least else "<="
    status: Status = "failed"
    if metric.value is None:
        message = f"{limit.name} is limited but not known: {metric.reason}"
    else:
        excess = limit.violation(metric.value)
        if excess > 0:
            side = "below" if limit.at_least else "above"
            text = amount(limit.name, metric.value, limit.limit)
            message = f"{text}, {change(excess)} {side} the limit"
        elif not limit.at_least and (metric.most is None or limit.violation(metric.most) > 0):
            status = "undecided"
            upto = "" if metric.most is None else f" and at most {amount(limit.name, metric.most)}"
            message = f"at least {amount(limit.name, metric.value)}{upto}, but {metric.reason}"
        else:
            status = "passed"
            message = f"{amount(limit.name, metric.value, limit.limit)}, {change(-excess)} to spare"
    return CheckResult(
        limit.name, limit.limit, operator, metric.value, file.levels[limit.name], status, message, model,
        source=metric.source,
    )  # fmt: skip


def baseline_checks(
    model: str, file: BudgetFile, metrics: Mapping[str, Metric], baseline: Mapping[str, float] | None
) -> Iterator[CheckResult]:
    """One result per compared metric that is no latency: by how much it grew (or fell, for accuracy).

    `baseline` is None where it does not have this model at all.
    """
    for name in sorted(file.compared & metrics.keys()):
        higher = name in HIGHER_IS_BETTER
        allowed = file.tolerance[name] * (-1 if higher else 1)
        operator: Operator = ">=" if higher else "<="
        metric, before = metrics[name], None if baseline is None else baseline.get(name)
        actual: float | None = None
        status: Status = "failed"
        if metric.value is None:
            message = f"{name} is compared but not known: {metric.reason}"
        elif before is None:
            missing = "does not have this model" if baseline is None else f"has no {name} of this model"
            message = f"the baseline {missing}; --update-baseline adds it, on purpose"
        else:
            value = metric.value if metric.most is None else metric.most
            actual = relative_change(value, before)
            worse = actual < allowed if higher else actual > allowed
            status = "failed" if worse else "undecided" if metric.most is None else "passed"
            told = f"{amount(name, before)} became {amount(name, value, before)} ({change(actual, True)})"
            message = f"{told}; allowed is {change(allowed, True)}"
            if status == "undecided":
                message += f"; but {metric.reason}"
        yield CheckResult(
            f"{name} vs baseline", allowed, operator, actual, file.levels[name], status, message, model,
            source=metric.source,
        )  # fmt: skip


def relative_change(now: float, before: float) -> float:
    """0.05 where `now` is 5 % more than `before`; against 0 everything but 0 is infinitely more."""
    if before == 0:
        return 0.0 if now == 0 else float("inf")
    return (now - before) / before
