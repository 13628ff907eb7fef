"""What the models were: by a baseline file, one older model, or a folder with the older version of everything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.gate.baseline import Baseline, BaselineEntry, read_baseline
from pipeline.gate.budget_file import BudgetFile
from pipeline.gate.checks import Before
from pipeline.gate.errors import GateError
from pipeline.gate.models import Subject, Task, matches, read_task, seen_from
from pipeline.modelfiles.read import READERS, ModelFacts, sha256_of, size_of


@dataclass(frozen=True, slots=True)
class Was:
    """One model as it was: its entry in a baseline file, or the old model itself. `new` says why there is neither."""

    entry: BaselineEntry | None = None
    model: Subject | None = None
    new: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """Where older versions are found: exactly one of the three is set."""

    baseline: Baseline | None = None
    model: Path | None = None
    folder: Path | None = None

    def of(self, task: Task, file: BudgetFile) -> Was:
        """The model that is checked, as it was."""
        name = task.subject.name
        if self.model is not None:
            return Was(model=_old(self.model, task, None))
        if self.folder is not None:
            old = self.folder / seen_from(file.folder, task.subject.facts.path)
            if not old.exists():
                return Was(new=f"new: {self.folder} does not have it; only its limits hold")
            metrics = None if task.rule is None else task.rule.metrics
            return Was(model=_old(old, task, metrics and self.folder / seen_from(file.folder, metrics)))
        baseline = self.baseline or Baseline(Path())
        renamed = _renamed(task, baseline)
        entry = baseline.entries.get(renamed or name)
        if entry is None:
            return Was(new="new: the baseline does not have it; only its limits hold (--update-baseline adds it)")
        kept = baseline.model_file(renamed or name)
        readable = kept is not None and kept.suffix.lower() in READERS
        return Was(entry, _old(kept, task, None) if kept is not None and readable else None)

    def gone(self, tasks: Sequence[Task], file: BudgetFile) -> Iterator[str]:
        """Remarks on models that were there and are not any more."""
        here = {task.subject.name for task in tasks}
        if self.baseline is not None:
            renamed = {_renamed(task, self.baseline) for task in tasks}
            for name, entry in self.baseline.entries.items():
                if name not in here | renamed and not (self.baseline.folder / entry.path).exists():
                    yield f"{name} is in the baseline and gone"
        if self.folder is not None:
            for rule in file.models:
                for old in matches(self.folder, rule.pattern):
                    name = seen_from(self.folder.resolve(), old)
                    if not (file.folder / name).exists():
                        yield f"{name} was there and is gone"


def open_past(path: Path, tasks: Sequence[Task]) -> Past:
    """What `--baseline` names. GateError where it is none of the three, or one model for several."""
    if path.suffix.lower() in READERS:
        if len(tasks) != 1:
            raise GateError(
                f"--baseline {path} is one model, but {len(tasks)} are checked; give a baseline file or a folder with "
                "the older versions instead"
            )
        return Past(model=path)
    return Past(folder=path) if path.is_dir() else Past(baseline=read_baseline(path))


def _renamed(task: Task, baseline: Baseline) -> str | None:
    """The entry of the same content under another name, whose own file is gone."""
    if task.subject.name in baseline.entries:
        return None
    digest = ""
    for name, entry in baseline.entries.items():
        if (baseline.folder / entry.path).exists():
            continue
        digest = digest or sha256_of(task.subject.facts.path)
        if entry.sha256 == digest:
            return name
    return None


def _old(path: Path, task: Task, metrics: Path | None) -> Subject:
    """An older version of a task's model, with the metrics that stood beside it."""
    if path.suffix.lower() not in READERS:
        return replace(task.subject, facts=ModelFacts(path, task.subject.facts.format, size_of(path)))
    known = metrics if metrics is not None and metrics.exists() else None
    rule = None if task.rule is None else replace(task.rule, metrics=known)
    return read_task(path, rule, task.subject.name).subject


def before(was: Was, known: Mapping[str, float]) -> Before:
    """What to compare with: the entry's figures, and where there is none the old model's own (`known`)."""
    if was.new:
        return Before(None, was.new)
    if was.entry is not None:
        return Before(was.entry.figures())
    return Before(known, "the older model does not tell it; only the limit holds")
