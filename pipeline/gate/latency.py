"""The latency of a model on a device, and whether it is inside its limit and its allowed change.

A device's latency is predicted (from a table), or measured on this machine or on a device behind a URL; each
result says which. What cannot be known is undecided and says what would settle it.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from latency_tables.errors import TableError
from latency_tables.table import Clock, clock_words
from pipeline.budget import Limit
from pipeline.gate.budget_file import BudgetFile, Device
from pipeline.gate.checks import relative_change
from pipeline.gate.errors import CannotMeasure, GateError
from pipeline.gate.host_rounds import host_clock, host_round
from pipeline.gate.measure import LookPlan, Outcome, Round, Taken, judge_change, judge_latency, rounds_needed
from pipeline.gate.models import Subject
from pipeline.gate.past import Was
from pipeline.gate.predict import PredictedMs, Table, open_table, predict
from pipeline.gate.results import CheckResult, Status
from pipeline.gate.units import amount, change
from pipeline.progress import Progress

if TYPE_CHECKING:
    from latency_tables.devices.runner import Runner


@dataclass
class LatencyJudge:
    """Answers every latency question of one run of the gate; tables and connections are opened once."""

    file: BudgetFile
    plan: LookPlan
    seed: int = 0
    progress: Progress | None = None
    _tables: dict[str, Table] = field(default_factory=dict)
    _runners: dict[tuple[str, int], "Runner"] = field(default_factory=dict)

    def table(self, name: str) -> Table:
        """The table of that name, read once. Raises TableError."""
        if name not in self._tables:
            self._tables[name] = open_table(name)
        return self._tables[name]

    def limit(self, subject: Subject, device: Device, limit_ms: float) -> CheckResult:
        """Whether `subject` stays within `limit_ms` on `device`."""
        answer = _Answer("latency_ms", limit_ms, subject.name, device, self.file)
        try:
            if device.table is not None:
                return self._predicted_limit(answer, subject, self.table(device.table))
            outcome = judge_latency(self._rounds(device, subject), limit_ms, self.plan, self.progress)
        except CannotMeasure as error:
            return answer.unknown(str(error))
        return answer.measured_limit(outcome, self._clock(device))

    def change(self, subject: Subject, device: Device, was: Was) -> CheckResult:
        """Whether `subject` is slower on `device` than its baseline by more than is allowed."""
        answer = _Answer("latency_ms vs baseline", self.file.tolerance["latency_ms"], subject.name, device, self.file)
        if was.new:
            return answer.result("passed", None, was.new, "no baseline")
        try:
            if device.table is not None:
                return self._predicted_change(answer, subject, self.table(device.table), was)
            if was.model is None:
                return answer.unknown(
                    "milliseconds of different runs are not compared; keep the old model where the baseline file "
                    "says, or give it as --baseline, and both are measured in turn"
                )
            rounds = self._rounds(device, subject, was.model)
            outcome = judge_change(rounds, answer.expected, self.plan, self.progress)
        except CannotMeasure as error:
            return answer.unknown(str(error))
        return answer.measured_change(outcome, self._clock(device))

    # -- one way each -------------------------------------------------------------------------------

    def _predicted_limit(self, answer: "_Answer", subject: Subject, table: Table) -> CheckResult:
        found = predict(subject.facts, table, answer.device.min_recognised)
        excess = Limit("latency_ms", answer.expected).violation(found.ms)
        side = f"{change(abs(excess))} {'above the limit' if excess > 0 else 'to spare'}"
        text = f"{amount('latency_ms', found.ms, answer.expected)}, {side}"
        if found.interval is not None:
            low, high = found.interval
            text += f"; 95 % of such networks take {low:.4g} to {high:.4g} ms"
            if low <= answer.expected < high:
                text += ", so the limit is within the table's error"
        text = "; ".join((text, *found.remarks))
        status: Status = "failed" if excess > 0 else "passed"
        return answer.result(status, found.ms, text, f"predicted by {table.label}", found.interval)

    def _predicted_change(self, answer: "_Answer", subject: Subject, table: Table, was: Was) -> CheckResult:
        source = f"predicted by {table.label}"
        now = predict(subject.facts, table, answer.device.min_recognised)
        before_ms = self._before_ms(answer, table, was)
        if isinstance(before_ms, str):
            return answer.result("failed", None, before_ms, source)
        grown = relative_change(now.ms, before_ms)
        status: Status = "failed" if grown > answer.expected else "passed"
        told = f"{amount('latency_ms', before_ms, now.ms)} became {amount('latency_ms', now.ms, before_ms)}"
        return answer.result(status, grown, f"{told} ({change(grown, True)}); {answer.allowed}", source)

    def _before_ms(self, answer: "_Answer", table: Table, was: Was) -> float | str:
        """The baseline's prediction, or why there is none."""
        if was.model is not None:
            predicted: PredictedMs = predict(was.model.facts, table, answer.device.min_recognised)
            return predicted.ms
        stored = None if was.entry is None else was.entry.predicted.get(answer.device.name)
        if stored is None:
            return "the baseline has no prediction for this device; write one on purpose with --update-baseline"
        if stored.table_sha256 != table.sha256:
            return (
                f"the baseline was predicted by another version of table {table.name}; keep the old model where the "
                "baseline file says, or write a new baseline on purpose with --update-baseline"
            )
        return stored.ms

    def _rounds(self, device: Device, *subjects: Subject) -> Round:
        for subject in subjects:
            litert = subject.facts.format == "tflite" and device.url != "host"
            if not subject.facts.runnable and not litert:
                raise CannotMeasure(
                    f"the latency of a {subject.facts.kind} is not measurable here; check its ONNX export, or give "
                    "a table and the run that it is from"
                )
        candidates = [subject.candidate for subject in subjects]
        if device.url == "host":
            rng = random.Random(self.seed)
            return lambda: host_round(candidates, device.threads, rng)
        from pipeline.gate.device_rounds import as_models, device_round

        runner, models = self._runner(device), as_models(candidates)
        return _guarded(lambda: device_round(models, runner))

    def _runner(self, device: Device) -> "Runner":
        from latency_tables.devices.registry import open_runner
        from latency_tables.devices.runner import DeviceOptions

        key = (device.url or "", device.threads)
        if key not in self._runners:
            self._runners[key] = open_runner(key[0], DeviceOptions(key[1]))
        return self._runners[key]

    def _clock(self, device: Device) -> Clock | None:
        """What the milliseconds that were measured on `device` are by."""
        if device.url == "host":
            return host_clock(device.threads)
        try:
            return self._runner(device).describe().clock
        except TableError:  # it answered every round before
            return None


def _guarded(one_round: Round) -> Round:
    """A lost device is something that could not be measured, not the end of the gate."""

    def guarded() -> Sequence[Taken]:
        try:
            return one_round()
        except TableError as error:
            raise CannotMeasure(str(error)) from error

    return guarded


@dataclass(frozen=True, slots=True)
class _Answer:
    """The question; its methods are the possible answers."""

    name: str
    expected: float
    model: str
    device: Device
    file: BudgetFile

    @property
    def allowed(self) -> str:
        return f"allowed is {change(self.expected, True)}"

    def result(
        self,
        status: Status,
        actual: float | None,
        message: str,
        source: str,
        interval: tuple[float, float] | None = None,
    ) -> CheckResult:
        return CheckResult(
            name=self.name,
            expected=self.expected,
            operator="<=",
            actual=actual,
            level=self.file.levels["latency_ms"],
            status=status,
            message=message,
            model=self.model,
            device=self.device.name,
            source=source,
            interval=interval,
        )

    def unknown(self, reason: str) -> CheckResult:
        how = "predicted" if self.device.table is not None else "measured"
        return self.result("undecided", None, reason, f"not {how}")

    def measured_limit(self, outcome: Outcome, clock: Clock | None) -> CheckResult:
        text = (
            f"{amount('latency_ms', outcome.value, self.expected)}, surely between {outcome.low:.4g} and "
            f"{outcome.high:.4g} ms ({outcome.rounds} rounds)"
        )
        if outcome.wall_ms > 1.2 * outcome.value:
            text += f"; {outcome.wall_ms:.4g} ms by the wall clock, as the machine was busy"
        return self._measured(outcome, text, clock)

    def measured_change(self, outcome: Outcome, clock: Clock | None) -> CheckResult:
        text = (
            f"{change(outcome.value, True)}, surely between {change(outcome.low, True)} and "
            f"{change(outcome.high, True)} ({outcome.rounds} rounds, both models in turn); {self.allowed}"
        )
        return self._measured(outcome, text, clock)

    def _measured(self, outcome: Outcome, text: str, clock: Clock | None) -> CheckResult:
        statuses: dict[str, Status] = {"below": "passed", "above": "failed", "undecided": "undecided"}
        status = statuses[outcome.decision]
        if status == "undecided":
            needed = rounds_needed(outcome, self.expected)
            text += f"; cannot decide: about {needed:,} rounds (--rounds) or a quieter machine would settle it"
        place = "this machine" if self.device.url == "host" else self.device.url
        threads = f"{self.device.threads} thread{'s' if self.device.threads > 1 else ''}"
        source = f"measured on {place}, {threads} ({clock_words(clock)})"
        interval = (outcome.low, outcome.high)
        finite = all(abs(bound) < float("inf") for bound in interval)
        return self.result(status, outcome.value, text, source, interval if finite else None)


def device_questions(
    limits: dict[str, float] | float | None, given: tuple[Device, ...], file: BudgetFile, table: Callable[[str], Table]
) -> Iterator[tuple[Device, float]]:
    """Each device whose latency is limited, with its limit in ms.

    `given` are the devices of the command line. A single limit holds on all of them, or on all of the file's,
    or else on this machine. A limit by name holds on the device of that name: one of the command line, of the
    file, a shipped table, or a URL.
    """
    if limits is None:
        return
    if not isinstance(limits, dict):
        for device in given or tuple(file.devices.values()) or (Device("host", url="host"),):
            yield device, limits
        return
    for name, limit in limits.items():
        yield _named_device(name, given, file, table), limit


def _named_device(name: str, given: tuple[Device, ...], file: BudgetFile, table: Callable[[str], Table]) -> Device:
    for device in given:
        known = {device.name}
        if device.table is not None:
            known |= {table(device.table).name, table(device.table).content.device.name}
        if name in known:
            return Device(name, device.table, device.url, device.threads, device.min_recognised)
    if name in file.devices:
        return file.devices[name]
    if name == "host" or "://" in name:
        return Device(name, url=name)
    try:
        table(name)
    except TableError as error:
        raise GateError(
            f"{file.where}: latency_ms names {name!r}, but there is no [devices.{name}], and {error}"
        ) from None
    return Device(name, table=name)
