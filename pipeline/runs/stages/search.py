"""Stage `search`: the best architectures inside the budget, judged by the sub-supernet of their region."""

import time
from pathlib import Path

from latency_tables.files import write_json
from pipeline.runs.context import run_costs, run_space
from pipeline.runs.engine import Progress
from pipeline.runs.folder import RunFolder
from pipeline.runs.scoring import RunScorer


def work(run: RunFolder, progress: Progress) -> None:
    """Fill the study (an Optuna journal file that is continued after a kill) and leave `candidates.json`."""
    from pipeline.search.evaluators import Scored
    from pipeline.search.settings import SearchSettings
    from pipeline.search.study import search
    from pipeline.spaces.codes import Codes

    config = run.config.search
    settings = SearchSettings(
        method=config.method, evaluations=config.evaluations, seed=run.config.seed, workers=config.workers
    )
    started = time.perf_counter()
    result = search(
        Codes(run_space(run)),
        run_costs(run),
        Scored("inherited", RunScorer(run)),
        settings,
        Path(run.study),
        progress,
    )
    seconds = (time.perf_counter() - started) / max(1, result.evaluations)
    entries = [
        {"arch": c.arch, "score": c.score, "trial": c.trial, **dict(c.costs)} for c in result.candidates
    ]
    write_json(
        run.candidates,
        {
            "schema_version": 1,
            "method": config.method,
            "evaluations": result.evaluations,
            "seconds_per_evaluation": round(seconds, 4),
            "feasible_share": result.feasible_share,
            "candidates": entries,
            "front": [c.arch for c in result.front],
        },
    )
