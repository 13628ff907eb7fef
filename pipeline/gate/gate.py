"""One run of the gate: every model against every limit and against what it was."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.gate.baseline import BaselineEntry, PredictedLatency
from pipeline.gate.budget_file import BudgetFile, Device
from pipeline.gate.checks import Figure, baseline_checks, limit_checks
from pipeline.gate.errors import CannotMeasure, GateError
from pipeline.gate.latency import LatencyJudge, device_questions
from pipeline.gate.measure import LookPlan
from pipeline.gate.models import Task, find_models
from pipeline.gate.past import Past, before, open_past
from pipeline.gate.predict import predict
from pipeline.gate.results import CheckResult, Report
from pipeline.modelfiles.inputs import written
from pipeline.modelfiles.read import ModelFacts, sha256_of
from pipeline.progress import Progress


@dataclass(frozen=True, slots=True)
class Request:
    """What to check: models as the command line names them (none: all of the budget file's), devices, a baseline."""

    models: tuple[Path, ...]
    plan: LookPlan
    devices: tuple[Device, ...] = ()
    baseline: Path | None = None
    seed: int = 0


def run_gate(request: Request, file: BudgetFile, progress: Progress | None = None) -> Report:
    """Check every model. Raises GateError for what cannot be read; what cannot be measured is a result."""
    found = find_models(request.models, file)
    judge = LatencyJudge(file, request.plan, request.seed, progress)
    past = None if request.baseline is None else open_past(request.baseline, found.tasks)
    results: list[CheckResult] = []
    notes = [*file.notes, *found.notes, *_idle_devices(found.tasks, request, file, judge)]
    for task in found.tasks:
        results += _against_limits(task, request, file, judge)
        if past is not None:
            results += _against_past(task, request, file, judge, past)
        notes += [f"{task.subject.name}: {note}" for note in _remarks(task, file)]
    if past is not None:
        notes += past.gone(found.tasks, file)
    if not results:
        raise GateError(f"{file.where} asks nothing of these models: it has no limits, and there is no --baseline")
    return Report(tuple(results), tuple(notes))


def baseline_entries(request: Request, file: BudgetFile, folder: Path) -> dict[str, BaselineEntry]:
    """What a baseline file in `folder` says about the models as they are now."""
    judge = LatencyJudge(file, request.plan)
    entries = {}
    for task in find_models(request.models, file).tasks:
        facts, predicted = task.subject.facts, {}
        for device, _ in _questions(task, request, file, judge):
            if device.table is not None:
                table = judge.table(device.table)
                try:
                    ms = predict(facts, table, device.min_recognised).ms
                except CannotMeasure:
                    continue  # the check itself tells why; a baseline holds only what is known
                predicted[device.name] = PredictedLatency(ms=ms, table_sha256=table.sha256)
        relative = os.path.relpath(facts.path.resolve(), folder.resolve())
        entries[task.subject.name] = BaselineEntry(
            path=Path(relative).as_posix(), sha256=sha256_of(facts.path), predicted=predicted, **_known(task)
        )
    return entries


def _remarks(task: Task, file: BudgetFile) -> Iterator[str]:
    facts = task.subject.facts
    yield from facts.notes
    if "params" in file.compared and facts.trained_params not in (None, facts.params):
        trained = f"as trained (with BatchNorm) it has {facts.trained_params:,}"
        yield f"the file stores {facts.params:,} parameters; {trained}"


def _figures(task: Task) -> Mapping[str, Figure]:
    facts = task.subject.facts
    kind = f"this {facts.kind} does not tell it"
    accuracy = f'{kind}; give metrics = "metrics.json" in [[models]], or check the run folder'
    if task.rule is not None and task.rule.metrics is not None:
        accuracy = f'{task.rule.metrics} has no "accuracy"'
    figures = {
        "macs": Figure(facts.macs, _uncounted(facts) or kind, facts.macs_most),
        "params": Figure.of(facts.params, kind),
        "size_mb": Figure.of(facts.size_mb),
        "accuracy": Figure.of(facts.accuracy, accuracy),
    }
    return {name: figure for name, figure in figures.items() if name in task.judged_by}


def _known(task: Task) -> dict[str, float]:
    """The figures that are known, of a range its upper end."""
    return {name: figure.most for name, figure in _figures(task).items() if figure.most is not None}


def _uncounted(facts: ModelFacts) -> str:
    """Why the MACs are not one number, and what would settle it."""
    if not facts.uncounted:
        return "" if facts.macs == facts.macs_most else "the input decides which branch of the graph runs"
    counted = ", ".join(f"{n} {name}" for name, n in facts.uncounted.items())
    reason = f"the MACs of {counted} cannot be counted (ignore_operators takes them as free)"
    if facts.open_inputs:
        shapes = ", ".join(f"{_toml_key(name)} = {written(shape)}" for name, shape in facts.open_inputs.items())
        reason += (
            f"; the file leaves its input open, so tell the whole shape in [[models]]: input_shapes = {{{shapes}}}, "
            "with a number for each ?"
        )
    return reason


def _toml_key(name: str) -> str:
    return name if name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name) else json.dumps(name)


def _questions(task: Task, request: Request, file: BudgetFile, judge: LatencyJudge) -> Iterator[tuple[Device, float]]:
    if "latency_ms" not in task.judged_by:
        return
    latency = file.budget(task.rule).latency_ms
    limits = dict(latency) if isinstance(latency, Mapping) else latency
    # A single limit is that of the run's own device; its further ones have limits by name.
    known = task.devices if isinstance(limits, dict) else task.devices[:1]
    yield from device_questions(limits, request.devices or known, file, judge.table)


def _idle_devices(tasks: Sequence[Task], request: Request, file: BudgetFile, judge: LatencyJudge) -> Iterator[str]:
    """Notes on devices that nothing asks about: else one would take them for checked."""
    asked = {device for task in tasks for device, _ in _questions(task, request, file, judge)}
    if not asked and request.baseline is not None and "latency_ms" in file.compared:
        return  # without a limit the change is judged on all of them
    places = {(device.table, device.url) for device in asked}
    for device in request.devices:
        if (device.table, device.url) not in places:
            option = "--device" if device.table is None else "--table"
            yield f"{option} {device.name} is not used: no latency_ms in {file.where} is about it"
    if not request.devices:
        names = {device.name for device in asked}
        yield from (
            f"[devices.{name}] is not used: no latency_ms is about it" for name in file.devices if name not in names
        )


def _against_limits(task: Task, request: Request, file: BudgetFile, judge: LatencyJudge) -> Iterator[CheckResult]:
    for device, limit_ms in _questions(task, request, file, judge):
        yield judge.limit(task.subject, device, limit_ms)
    yield from limit_checks(task.subject.name, file.budget(task.rule), file, _figures(task))


def _against_past(
    task: Task, request: Request, file: BudgetFile, judge: LatencyJudge, past: Past
) -> Iterator[CheckResult]:
    was = past.of(task, file)
    if "latency_ms" in file.compared & task.judged_by:
        devices = [device for device, _ in _questions(task, request, file, judge)]
        for device in devices or request.devices or task.devices or (Device("host", url="host"),):
            yield judge.change(task.subject, device, was)
    known = {} if was.model is None else _known(Task(was.model, task.rule, task.judged_by))
    yield from baseline_checks(task.subject.name, file, _figures(task), before(was, known))
