"""One run of the gate: every model against every limit and its baseline."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.gate.baseline import Baseline, BaselineEntry, PredictedLatency, read_baseline
from pipeline.gate.budget_file import METRICS, BudgetFile, Device, ModelRule
from pipeline.gate.checks import Metric, baseline_checks, limit_checks
from pipeline.gate.errors import CannotMeasure, GateError
from pipeline.gate.host_rounds import Candidate
from pipeline.gate.latency import LatencyJudge, Subject, device_questions
from pipeline.gate.measure import Plan, Progress
from pipeline.gate.predict import predict
from pipeline.gate.results import CheckResult, Report
from pipeline.gate.run_folder import is_run, made_with, read_run
from pipeline.modelfiles.inputs import written
from pipeline.modelfiles.read import READERS, ModelFacts, ReadOptions, read_metrics, read_model, sha256_of


@dataclass(frozen=True, slots=True)
class Request:
    """What to check: models as the command line names them (none: all of the budget file's), devices, a baseline."""

    models: tuple[Path, ...]
    plan: Plan
    devices: tuple[Device, ...] = ()
    baseline: Path | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Task:
    """A model to judge; `judged_by` leaves out metrics that are not this file's, `devices` are those of its run."""

    subject: Subject
    rule: ModelRule | None
    judged_by: frozenset[str] = frozenset(METRICS)
    devices: tuple[Device, ...] = ()


def run_gate(request: Request, file: BudgetFile, progress: Progress | None = None) -> Report:
    """Check every model. Raises GateError for what cannot be read; what cannot be measured is a result."""
    tasks = _tasks(request, file)
    judge = LatencyJudge(file, request.plan, request.seed, progress)
    baseline, old_model = _baseline(request, tasks)
    results: list[CheckResult] = []
    notes = [*file.notes, *_idle_devices(tasks, request, file, judge)]
    for task in tasks:
        results += _against_limits(task, request, file, judge)
        if request.baseline is not None:
            results += _against_baseline(task, request, file, judge, baseline, old_model)
        notes += [f"{task.subject.name}: {note}" for note in task.subject.facts.notes]
    if not results:
        raise GateError(f"{file.where} asks nothing of these models: it has no limits, and there is no --baseline")
    return Report(tuple(results), tuple(notes))


def baseline_entries(request: Request, file: BudgetFile, folder: Path) -> dict[str, BaselineEntry]:
    """What a baseline file in `folder` says about the models as they are now."""
    judge = LatencyJudge(file, request.plan)
    entries = {}
    for task in _tasks(request, file):
        facts, predicted = task.subject.facts, {}
        for device, _ in _questions(task, request, file, judge):
            if device.table is not None:
                table = judge.table(device.table)
                try:
                    ms = predict(facts, table, device.min_recognised).ms
                except CannotMeasure:
                    continue  # the check itself tells why; a baseline holds only what is known
                predicted[device.name] = PredictedLatency(ms=ms, table_sha256=table.sha256)
        known = {name: metric.most for name, metric in _metrics(task).items()}
        relative = os.path.relpath(facts.path.resolve(), folder.resolve())
        entries[task.subject.name] = BaselineEntry(
            path=Path(relative).as_posix(), sha256=sha256_of(facts.path), predicted=predicted, **known
        )
    return entries


def _tasks(request: Request, file: BudgetFile) -> list[_Task]:
    if not request.models and not file.models:
        raise GateError(f"no model to check: name one, or list [[models]] in {file.where}")
    if request.models:
        named = [path for given in request.models for path in _named(given)]
        pairs = [(path, _rule_for(path, file)) for path in named]
    else:
        pairs = [(path, rule) for rule in file.models for path in _matches(rule, file)]
    several = len({path.name for path, _ in pairs}) < len(pairs)
    tasks = [task for path, rule in pairs for task in _expand(path, rule, several)]
    names = [task.subject.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise GateError(f"two models are called {name!r}; give them names of their own in {file.where}")
    return tasks


def _expand(path: Path, rule: ModelRule | None, whole_paths: bool) -> Iterator[_Task]:
    """The model at `path`, or the files of the run there."""
    if not is_run(path):
        yield _task(path, rule, whole_paths)
        return
    run_name = path.resolve().name if rule is None or rule.name is None else rule.name
    for model in read_run(path, _options(rule)):
        file = model.facts.path
        subject = Subject(f"{run_name}/{file.name}", model.facts, Candidate(file, _options(rule).input_shapes))
        yield _Task(subject, rule, model.judged_by, model.devices)


def _options(rule: ModelRule | None) -> ReadOptions:
    return ReadOptions() if rule is None else ReadOptions(rule.input_shapes, rule.ignore_operators)


def _task(path: Path, rule: ModelRule | None, whole_paths: bool) -> _Task:
    options = _options(rule)
    facts = replace(read_model(path, options), runtime_versions=made_with(path))
    if rule is not None and rule.metrics is not None:
        facts = replace(facts, accuracy=read_metrics(rule.metrics).get("accuracy"))
    name = str(path) if whole_paths else path.name
    if rule is not None and rule.name is not None:
        name = rule.name
    return _Task(Subject(name, facts, Candidate(path, options.input_shapes)), rule)


def _rule_for(path: Path, file: BudgetFile) -> ModelRule | None:
    for rule in file.models:
        if path.resolve() in {match.resolve() for match in _glob(rule.pattern)}:
            return rule
    return None


def _matches(rule: ModelRule, file: BudgetFile) -> list[Path]:
    found = _glob(rule.pattern)
    readable = [path for path in found if path.is_dir() or path.suffix in READERS]
    if not readable:
        raise GateError(f"{file.where}: no model matches {rule.pattern!r}")
    return readable


def _named(path: Path) -> list[Path]:
    """The model at `path`, or those that match it as a pattern: not every CI passes it through a shell."""
    if path.exists() or not set("*?[") & set(str(path)):
        return [path]
    return [found for found in _glob(str(path.absolute())) if found.suffix in READERS] or [path]


def _glob(pattern: str) -> list[Path]:
    root = Path(pattern).anchor
    return sorted(Path(root).glob(str(Path(pattern).relative_to(root))))


def _metrics(task: _Task) -> Mapping[str, Metric]:
    facts = task.subject.facts
    kind = f"this {facts.kind} does not tell it"
    accuracy = f'{kind}; give metrics = "metrics.json" in [[models]], or check the run folder'
    if task.rule is not None and task.rule.metrics is not None:
        accuracy = f'{task.rule.metrics} has no "accuracy"'
    metrics = {
        "macs": Metric(facts.macs, _uncounted(facts) or kind, facts.macs_most),
        "params": Metric.of(facts.params, kind),
        "size_mb": Metric.of(facts.size_mb),
        "accuracy": Metric.of(facts.accuracy, accuracy),
    }
    return {name: metric for name, metric in metrics.items() if name in task.judged_by}


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


def _questions(task: _Task, request: Request, file: BudgetFile, judge: LatencyJudge) -> Iterator[tuple[Device, float]]:
    if "latency_ms" not in task.judged_by:
        return
    latency = file.budget(task.rule).latency_ms
    limits = dict(latency) if isinstance(latency, Mapping) else latency
    # A single limit is that of the run's own device; its further ones have limits by name.
    known = task.devices if isinstance(limits, dict) else task.devices[:1]
    yield from device_questions(limits, request.devices or known, file, judge.table)


def _idle_devices(tasks: Sequence[_Task], request: Request, file: BudgetFile, judge: LatencyJudge) -> Iterator[str]:
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


def _against_limits(task: _Task, request: Request, file: BudgetFile, judge: LatencyJudge) -> Iterator[CheckResult]:
    for device, limit_ms in _questions(task, request, file, judge):
        yield judge.limit(task.subject, device, limit_ms)
    yield from limit_checks(task.subject.name, file.budget(task.rule), file, _metrics(task))


def _against_baseline(
    task: _Task,
    request: Request,
    file: BudgetFile,
    judge: LatencyJudge,
    baseline: Baseline,
    old_model: Subject | None,
) -> Iterator[CheckResult]:
    name = task.subject.name
    entry = baseline.entries.get(name)
    before: Mapping[str, float] | None
    if old_model is not None:
        before = {k: m.value for k, m in _metrics(_Task(old_model, task.rule)).items() if m.value is not None}
    else:
        before = None if entry is None else entry.figures()
    if "latency_ms" in file.compared & task.judged_by:
        kept = baseline.model_file(name)
        if old_model is None and kept is not None:
            old_model = _task(kept, task.rule, False).subject
        devices = [device for device, _ in _questions(task, request, file, judge)]
        for device in devices or request.devices or task.devices or (Device("host", url="host"),):
            yield judge.change(task.subject, device, entry, old_model)
    yield from baseline_checks(name, file, _metrics(task), before)


def _baseline(request: Request, tasks: Sequence[_Task]) -> tuple[Baseline, Subject | None]:
    """The baseline file's entries, or the baseline model."""
    path = request.baseline
    if path is None:
        return Baseline(Path()), None
    if path.suffix.lower() not in READERS:
        return read_baseline(path), None
    if len(tasks) != 1:
        raise GateError(f"--baseline {path} is one model, but {len(tasks)} are checked; give a baseline file instead")
    return Baseline(Path()), _task(path, tasks[0].rule, False).subject
