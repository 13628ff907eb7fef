"""Stage `search`: the best architectures inside the budget, by the ranker or by inherited scores."""

import hashlib
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import InfeasibleBudget
from pipeline.progress import Progress
from pipeline.runs.documents.search import CandidateEntry, Candidates, RelaxedFile
from pipeline.runs.relaxing import relaxed_networks
from pipeline.runs.run import Run
from pipeline.runs.timed import affordable_evaluations, scheduled
from pipeline.search.settings import relaxing
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from pipeline.search.results import Candidate, SearchResult
    from pipeline.search.settings import SearchSettings
    from pipeline.search.workers import Task


def work(run: Run, progress: Progress) -> None:
    """Learn to rank, fill the study (an Optuna journal that is continued after a kill), leave `candidates.json`."""
    from pipeline.search.storage import open_storage

    if (address := run.config.search.storage) is not None:
        open_storage(address)  # a wrong one is told at once; from here on one that is away is waited for
    run.folder.private.touch()
    run.folder.judged.touch()
    run.scorer.learn(progress)  # before any worker begins, so that all read the same
    started = time.perf_counter()
    only = _only(run)
    result = _searched(run, progress) if only is None else _only_network(run, only)
    _tell_missing(run, result.candidates)
    seconds = (time.perf_counter() - started) / max(1, result.evaluations)
    Candidates(
        method=run.config.search.method,
        ranked_by=run.scorer.ranked_by,
        evaluations=result.evaluations,
        seconds_per_evaluation=round(seconds, 4),
        feasible_share=result.feasible_share,
        candidates=_ranked(run, result, progress),
        front=[candidate.arch for candidate in result.front],
    ).save(run.folder.candidates)


def _tell_trial(run: Run, judged: "Candidate") -> None:
    run.events.tell(
        "trial", "search", number=judged.trial, arch=judged.arch, score=judged.score, costs=dict(judged.costs)
    )


def _tell_missing(run: Run, judged: "Sequence[Candidate]") -> None:
    """Trials of which nobody has told: a process was killed between the two, or another machine judged them."""
    told = {event.facts.get("number") for event in run.events.current("search") if event.event == "trial"}
    for candidate in sorted(judged, key=lambda candidate: candidate.trial):
        if candidate.trial not in told:
            _tell_trial(run, candidate)


def discard(run: Run) -> None:
    """Remove the run's study from the database that it is in."""
    from pipeline.search.study import remove_study

    if (storage := run.config.search.storage) is not None:
        remove_study(storage, _settings(run))


def _searched(run: Run, progress: Progress) -> "SearchResult":
    from pipeline.search.workers import search_with_workers

    storage = run.config.search.storage or run.folder.study
    if method := relaxing(run.config.search.method):
        _enqueue(run, relaxed_networks(run, method, progress), storage)
    make, task = partial(_task_at, run.path), _task(run)
    return search_with_workers(make, _settings(run), storage, progress, task=task, known_storage=True)


def _enqueue(run: Run, archs: list[Architecture], storage: str | Path) -> None:
    from pipeline.search.study import enqueue

    task = _task(run)
    enqueue(task.space, task.costs, task.evaluator, _settings(run), storage, run.codes.encode(archs))


def _settings(run: Run) -> "SearchSettings":
    from pipeline.search.settings import SearchSettings

    config = run.config.search
    subject = "" if config.storage is None else _subject(run)
    return SearchSettings(
        config.method,
        affordable_evaluations(run),
        run.config.seed,
        config.workers,
        subject=subject,
        pruner=config.pruner,
    )


def _subject(run: Run) -> str:
    """A hash of the images and weights that scores depend on: what tells runs in one database apart."""
    records = [run.folder.record(stage) for stage in ("data", "split")]
    files = [record.outputs for record in records if record is not None]
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]


def _task_at(path: Path) -> "Task":
    """What a worker process needs, from the run's folder."""
    return _task(Run.open(path))


def _task(run: Run) -> "Task":
    from pipeline.search.workers import Task

    return Task(run.codes, run.costs, run.scorer.evaluator, partial(_tell_trial, run))


def _only(run: Run) -> Architecture | None:
    """The network that there is nothing beside: the one that was asked for, or all that the space has."""
    from pipeline.spaces.named import resolve_architecture

    wanted = run.config.search.only
    if wanted is None:
        return run.space.max() if run.space.size == 1 else None
    arch = resolve_architecture(run.space, wanted)
    row = run.codes.encode([arch])
    if not run.costs.feasible(row)[0]:
        exceeded = {name: float(by[0]) for name, by in run.costs.violations(row).items() if by[0] > 0}
        told = ", ".join(f"{name} by {share:.2%}" for name, share in exceeded.items())
        raise InfeasibleBudget(f"network {arch} is outside the budget: {told}; name wider limits, or another network")
    return arch


def _only_network(run: Run, arch: Architecture) -> "SearchResult":
    """The answer where nothing is left to choose."""
    from pipeline.search.results import Candidate, SearchResult

    row = run.codes.encode([arch])
    costs = {name: float(values[0]) for name, values in run.costs.values(row).items()}
    (score,) = run.scorer.evaluator.evaluate([arch])
    only = Candidate(str(arch), score, costs, trial=0, codes=tuple(row[0].tolist()))
    return SearchResult((only,), (only,), 1, 0, 0, 1.0, exhausted=True, seconds=0.0, judging_seconds=0.0)


def _ranked(run: Run, result: "SearchResult", progress: Progress) -> list[CandidateEntry]:
    """The candidates, best first: the first `[search] private` in the order of their private scores.

    What a relaxing method ends as stands first: it is trained to the end, whatever shared weights say of it.
    """
    from pipeline.ranking.private_tuning import reranked

    file = run.folder.relaxed / "relaxed.json"
    own = RelaxedFile.load(file).archs[0] if file.exists() else None
    found = tuple(sorted(result.candidates, key=lambda candidate: candidate.arch != own))
    reranks = len(found) > 1 and run.config.search.judge_by == "inherited"
    tuned = _privately_tuned(run, found[: scheduled(run).private] if reranks else (), progress)
    return [
        CandidateEntry(
            arch=found[place].arch,
            score=found[place].score,
            private_score=tuned[place] if place < len(tuned) else None,
            trial=found[place].trial,
            **dict(found[place].costs),
        )
        for place in sorted(reranked(range(len(found)), tuned), key=lambda place: found[place].arch != own)
    ]


def _privately_tuned(run: Run, best: "tuple[Candidate, ...]", progress: Progress) -> list[float]:
    """Minus the cross-entropy of each of the `best` after some batches without sharing, in their order."""
    archs = [Architecture.parse(candidate.arch) for candidate in best]
    return run.scorer.privately(archs, progress, "private fine-tunes")
