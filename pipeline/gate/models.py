"""Which models a check is about, and what the budget says of each."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path

from pipeline.gate.budget_file import BudgetFile, Device, ModelRule
from pipeline.gate.errors import GateError
from pipeline.gate.host_rounds import TimedModel
from pipeline.gate.metrics import METRICS
from pipeline.gate.run_folder import is_run, made_with, read_run
from pipeline.modelfiles.read import READERS, ModelFacts, ReadOptions, read_metrics, read_model


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is checked: its name, facts, and how its open inputs are shaped."""

    name: str
    facts: ModelFacts
    candidate: TimedModel


@dataclass(frozen=True, slots=True)
class Task:
    """A model to judge; `judged_by` leaves out metrics that are not this file's, `devices` are those of its run."""

    subject: Subject
    rule: ModelRule | None
    judged_by: frozenset[str] = frozenset(METRICS)
    devices: tuple[Device, ...] = ()


@dataclass
class Found:
    """The models, and remarks on rules of the budget that are about none of them."""

    tasks: list[Task] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_models(given: Sequence[Path], file: BudgetFile) -> Found:
    """The models that the command line names, or else all of the budget file's.

    Raises GateError where there are none, one cannot be read, two share a name or two rules are about one.
    """
    if not given and not file.models:
        raise GateError(f"no model to check: name one, or list [[models]] in {file.where}")
    found = Found()
    if given:
        paths = [path for one in given for path in _named(one)]
        found.notes += _rules_about_nothing(paths, file)
    else:
        paths = list({_place(p): p for rule in file.models for p in _readable(rule, file)}.values())
    for path in paths:
        rule, note = _rule_for(path, file)
        found.notes += [note] if note else []
        found.tasks += _expand(path, rule, file)
    names = [task.subject.name for task in found.tasks]
    for name in names:
        if names.count(name) > 1:
            raise GateError(f"two models are called {name!r}; give them names of their own in {file.where}")
    return found


def read_task(path: Path, rule: ModelRule | None, name: str) -> Task:
    """The model file at `path` under a name."""
    options = options_of(rule)
    facts = replace(read_model(path, options), runtime_versions=made_with(path))
    if rule is not None and rule.metrics is not None:
        facts = replace(facts, accuracy=read_metrics(rule.metrics).get("accuracy"))
    return Task(Subject(name, facts, TimedModel(path, options.input_shapes)), rule)


def options_of(rule: ModelRule | None) -> ReadOptions:
    """What a rule adds to a file."""
    return ReadOptions() if rule is None else ReadOptions(rule.input_shapes, rule.ignore_operators)


def seen_from(folder: Path, path: Path) -> str:
    """The path of a model as it is written in a budget file in `folder`, with forward slashes."""
    return Path(os.path.relpath(_place(path), folder)).as_posix()


def _place(path: Path) -> Path:
    """Where a path leads, links followed but for the last one."""
    return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()


def _expand(path: Path, rule: ModelRule | None, file: BudgetFile) -> Iterator[Task]:
    """The model at `path`, or the files of the run there."""
    name = seen_from(file.folder, path) if rule is None or rule.name is None else rule.name
    if not is_run(path):
        yield read_task(path, rule, name)
        return
    for model in read_run(path, options_of(rule)):
        own = model.facts.path
        subject = Subject(f"{name}/{own.name}", model.facts, TimedModel(own, options_of(rule).input_shapes))
        yield Task(subject, rule, model.judged_by, model.devices)


def _rule_for(path: Path, file: BudgetFile) -> tuple[ModelRule | None, str]:
    """The rule about a model, one that names it before one whose pattern it matches, and a remark where both do."""
    place = _place(path)
    literal = [rule for rule in file.models if _place(file.folder / rule.pattern) == place]
    patterns = [
        rule for rule in file.models if rule not in literal and place in {_place(match) for match in _glob(rule, file)}
    ]
    rules = literal or patterns
    if len(rules) > 1:
        numbers = " and ".join(f"#{rule.number} ({rule.pattern!r})" for rule in rules)
        raise GateError(f"{file.where}: two [[models]] are about {path}: {numbers}; say all in one of them")
    if literal and patterns:
        others = ", ".join(f"#{rule.number}" for rule in patterns)
        return literal[0], f"{path}: [[models]] #{literal[0].number} names it and holds, the pattern {others} does not"
    return (rules[0] if rules else None), ""


def _rules_about_nothing(paths: Sequence[Path], file: BudgetFile) -> Iterator[str]:
    """Remarks on rules that match no file. GateError where one seems to mean a model that is checked."""
    for rule in file.models:
        if _glob(rule, file):
            continue
        where = f"{file.where}: [[models]] #{rule.number} {rule.pattern!r} matches nothing in {file.folder}"
        for path in paths:
            if fnmatch(path.name, Path(rule.pattern).name):
                meant = seen_from(file.folder, path)
                raise GateError(f"{where}; the model that is checked is {meant!r} from there")
        yield where


def _readable(rule: ModelRule, file: BudgetFile) -> list[Path]:
    found = [path for path in _glob(rule, file) if _is_model(path)]
    if not found:
        raise GateError(f"{file.where}: no model matches {rule.pattern!r} in {file.folder}")
    return found


def _is_model(path: Path) -> bool:
    return path.suffix.lower() in READERS or is_run(path)


def _named(path: Path) -> list[Path]:
    """The model at `path`, or those that match it as a pattern: not every CI passes it through a shell."""
    if path.exists() or not set("*?[") & set(str(path)):
        return [path]
    whole = path.absolute()
    return [p for p in matches(Path(whole.anchor), str(whole.relative_to(whole.anchor))) if _is_model(p)] or [path]


def _glob(rule: ModelRule, file: BudgetFile) -> list[Path]:
    """What a rule's pattern names: the very path, or else its matches. Signs in the folder's own name mean nothing."""
    literal = file.folder / rule.pattern
    if literal.exists():
        return [literal]
    pattern = Path(rule.pattern)
    if pattern.is_absolute():
        return matches(Path(pattern.anchor), str(pattern.relative_to(pattern.anchor)))
    return matches(file.folder, rule.pattern)


def matches(folder: Path, pattern: str) -> list[Path]:
    """The paths in `folder` that match a pattern, in order. Raises GateError for one that is none."""
    try:
        return sorted(folder.glob(pattern))
    except (ValueError, NotImplementedError, OSError) as error:
        raise GateError(f"{pattern!r} is no pattern of paths: {error}") from None
