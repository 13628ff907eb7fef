"""A search whose evaluator is as cheap as a predictor: batches instead of trials, and only the front in the study."""

import time
from pathlib import Path
from typing import Final, Literal

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from pipeline.errors import InfeasibleBudget
from pipeline.search.candidates import CandidateSpace, CodeArray, FloatArray, keys
from pipeline.search.costs import Costs
from pipeline.search.engine import Found, Progress, Score
from pipeline.search.pool import Problem
from pipeline.search.samplers import History, ProposalSampler, sampler_of
from pipeline.search.settings import SearchSettings
from pipeline.search.storage import open_storage
from pipeline.search.study import STUDY_NAME, Candidate, SearchResult, front_cost, undominated

_GROWTH: Final = 20  # a batch is a twentieth of what the sampler learns from
_BATCH_UP_TO: Final = 100


def propose_in_batches(
    sampler: ProposalSampler, score: Score, evaluations: int, seed: int, progress: Progress | None = None
) -> Found:
    """Judge up to `evaluations` networks as `sampler` proposes them, several at a time once there are many.

    Returns all of them in the order of judging; fewer where the space has no more.
    """
    problem = sampler.problem
    codes = np.empty((0, len(problem.space.cardinalities)), dtype=np.uint8)
    scores = np.empty(0)
    while len(codes) < evaluations:
        history = History(codes, scores, np.ones(len(codes), dtype=bool), frozenset(keys(codes)))
        rng = np.random.default_rng([seed, 2, len(codes), 0])
        growing = sampler.learning_from(history) // _GROWTH
        wanted = min(max(1, min(_BATCH_UP_TO, growing)), evaluations - len(codes))
        born = problem.proper(sampler.propose(history, problem, rng), history.seen)[:wanted]
        if len(born) < wanted:
            more = problem.random(wanted, rng, history.seen | frozenset(keys(born)))
            born = np.concatenate([born, more])[:wanted]
        if not len(born):
            break
        codes, scores = np.concatenate([codes, born]), np.concatenate([scores, score(born)])
        if progress is not None:
            progress(len(codes), evaluations, "candidates")
    return Found(codes, scores, len(codes))


def search_in_bulk(
    space: CandidateSpace,
    costs: Costs,
    score: Score,
    settings: SearchSettings,
    storage: str | Path,
    progress: Progress | None = None,
) -> SearchResult:
    """As `pipeline.search.study.search`, for `score(codes) -> scores` of thousands a second.

    The study receives the networks that no other beats in score at no higher cost, as finished trials.
    Raises InfeasibleBudget where nothing is inside the limits.
    """
    started = time.perf_counter()
    problem = Problem(space, costs, costs.ensure_reachable())
    if not len(problem.random(1, np.random.default_rng(settings.seed))):
        raise InfeasibleBudget("no network inside all limits was found")
    sampler = sampler_of(settings.method)(problem, settings.seed)
    judging_seconds = 0.0

    def timed(codes: CodeArray) -> FloatArray:
        nonlocal judging_seconds
        began = time.perf_counter()
        scores = score(codes)
        judging_seconds += time.perf_counter() - began
        return scores

    found = propose_in_batches(sampler, timed, settings.evaluations, settings.seed, progress)
    cost = front_cost(costs)
    candidates = _candidates(space, costs, found.codes, found.scores.tolist())
    front = undominated(candidates, cost)
    _record(front, sampler, costs, settings, storage, cost)
    candidates.sort(key=lambda candidate: (-candidate.score, candidate.trial))
    return SearchResult(
        candidates=tuple(candidates),
        front=front,
        evaluations=found.scored,
        withdrawn=0,
        failed=0,
        feasible_share=problem.feasible_share,
        exhausted=found.scored < settings.evaluations,
        seconds=time.perf_counter() - started,
        judging_seconds=judging_seconds,
    )


def _candidates(space: CandidateSpace, costs: Costs, codes: CodeArray, scores: list[float]) -> list[Candidate]:
    values = {name: column.tolist() for name, column in costs.values(codes).items()}
    return [
        Candidate(str(arch), score, {name: values[name][n] for name in values}, n, tuple(row))
        for n, (arch, score, row) in enumerate(zip(space.decode(codes), scores, codes.tolist(), strict=True))
    ]


def _record(
    front: tuple[Candidate, ...],
    sampler: ProposalSampler,
    costs: Costs,
    settings: SearchSettings,
    storage: str | Path,
    cost: str,
) -> None:
    directions: list[Literal["maximize", "minimize"]] = ["maximize"]
    if settings.objective == "front":
        directions.append("minimize")
    study = optuna.create_study(
        study_name=STUDY_NAME, storage=open_storage(storage), directions=directions, load_if_exists=True
    )
    known = {
        tuple(sampler.packing.unpack(trial.params).tolist())
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    }
    for candidate in front:
        if candidate.codes in known:
            continue
        row = np.array(candidate.codes, dtype=np.uint8)
        values = [candidate.score, candidate.costs[cost]][: len(directions)]
        network = {"arch": candidate.arch, "costs": dict(candidate.costs), "fidelity": "predictor"}
        study.add_trial(
            create_trial(
                values=values,
                params=sampler.packing.pack(row),
                distributions=sampler.packing.distributions,
                user_attrs={"network": network},
            )
        )
