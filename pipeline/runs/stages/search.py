"""Stage `search`: the best architectures inside the budget, by the ranker or by inherited scores."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from latency_tables.files import write_json
from pipeline.runs.context import run_costs, run_space
from pipeline.runs.engine import Progress
from pipeline.runs.folder import RunFolder, open_run
from pipeline.runs.scoring import SearchScorer, private_scorer
from pipeline.spaces.architecture import Architecture

if TYPE_CHECKING:
    from pipeline.search.study import Candidate
    from pipeline.search.workers import Task


def work(run: RunFolder, progress: Progress) -> None:
    """Learn to rank, fill the study (an Optuna journal that is continued after a kill), leave `candidates.json`."""
    from pipeline.ranking.repair import repaired
    from pipeline.search.settings import SearchSettings
    from pipeline.search.workers import search_with_workers

    config = run.config.search
    settings = SearchSettings(
        method=config.method, evaluations=config.evaluations, seed=run.config.seed, workers=config.workers
    )
    ranked_by = SearchScorer(run, progress).ranked_by  # what it learns from is made here, so that workers find it
    started = time.perf_counter()
    storage = run.study if config.storage is None else config.storage
    result = search_with_workers(partial(_task, run.path), settings, storage, progress)
    seconds = (time.perf_counter() - started) / max(1, result.evaluations)
    tuned = _privately_tuned(run, result.candidates[: config.private], progress)
    entries = [
        {
            "arch": candidate.arch,
            "score": candidate.score,
            "private_score": tuned[place] if place < len(tuned) else None,
            "trial": candidate.trial,
            **dict(candidate.costs),
        }
        for place, candidate in (
            (place, result.candidates[place]) for place in repaired(range(len(result.candidates)), tuned)
        )
    ]
    write_json(
        run.candidates,
        {
            "schema_version": 1,
            "method": config.method,
            "ranked_by": ranked_by,
            "evaluations": result.evaluations,
            "seconds_per_evaluation": round(seconds, 4),
            "feasible_share": result.feasible_share,
            "candidates": entries,
            "front": [c.arch for c in result.front],
        },
    )


def _task(path: Path) -> "Task":
    """What a worker process needs, from the run's folder."""
    from pipeline.search.evaluators import Scored
    from pipeline.search.workers import Task
    from pipeline.spaces.codes import Codes

    run = open_run(path)
    fidelity = "predictor" if run.config.search.rank_by == "ranker" else "inherited"
    return Task(Codes(run_space(run)), run_costs(run), Scored(fidelity, SearchScorer(run)))


def _privately_tuned(run: RunFolder, best: "tuple[Candidate, ...]", progress: Progress) -> list[float]:
    """Minus the cross-entropy of each of the `best` after some batches without sharing, in their order."""
    scorer = private_scorer(run)
    tuned: list[float] = []
    for done, candidate in enumerate(best, 1):
        tuned += scorer.evaluate([Architecture.parse(candidate.arch)])
        progress(done, len(best), "private fine-tunes")
    return tuned
