"""One search = one Optuna study: proposals under the limits, each judged once, resumable, shared by workers."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import InfeasibleBudget, PipelineError
from pipeline.own import own_name
from pipeline.progress import Progress
from pipeline.search.candidates import CandidateSpace, CodeArray, keys
from pipeline.search.costs import Costs
from pipeline.search.crew import DatabaseCrew, JournalCrew
from pipeline.search.evaluators import Evaluator, Watched
from pipeline.search.packing import Packing
from pipeline.search.pool import FeasibleSpace
from pipeline.search.results import Candidate, SearchResult, front_cost, undominated
from pipeline.search.rungs import REDUCTION, was_judged
from pipeline.search.samplers import ProposalSampler, sampler_of
from pipeline.search.searcher import Searcher
from pipeline.search.settings import SearchSettings
from pipeline.search.storage import Outage, is_url, open_storage, prepare, without_password

STUDY_NAME: Final = "search"
_HEARTBEAT_S: Final = 10


def search(
    space: CandidateSpace,
    costs: Costs,
    evaluator: Evaluator,
    settings: SearchSettings,
    storage: str | Path,
    progress: Progress | None = None,
    heartbeat_s: int = _HEARTBEAT_S,
    sampler: type[ProposalSampler] | None = None,
    hear: Callable[[Candidate], None] | None = None,
    known_storage: bool = False,
) -> SearchResult:
    """Judge up to `settings.evaluations` feasible networks in the study at `storage`, and return what is best.

    Calling it again with the same arguments continues where it was; processes that call it at the same time
    with the same storage share the work, no network being judged twice. `settings.workers` is for whoever
    starts those processes; this function is one of them. A `sampler` class of one's own proposes instead of
    `settings.method`. `hear` is told of each network that this process has judged. With a `known_storage`, which has
    answered before or whose folder is there, a database that is away at the beginning is waited for, and a folder that
    is gone is an error; else the former is an error at once, and the folder is made.

    Raises InfeasibleBudget at once where no network is inside the limits, PipelineError where the study was
    begun for another space, budget, evaluator, method or seed.
    """
    problem = FeasibleSpace(space, costs, costs.ensure_reachable())
    if not len(problem.random(1, np.random.default_rng(settings.seed))):
        raise InfeasibleBudget("no network inside all limits was found; the least over its limits was not enough")
    if not known_storage:
        prepare(storage)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        outage = Outage(storage)
        begin = partial(_Study, problem, evaluator, settings, storage, heartbeat_s, sampler)
        study = outage.through(begin) if known_storage else begin()
        searcher = study.searcher(outage, progress, hear)
        searcher.run()
        return outage.through(partial(study.result, searcher.exhausted))
    finally:
        optuna.logging.set_verbosity(verbosity)


def enqueue(
    space: CandidateSpace,
    costs: Costs,
    evaluator: Evaluator,
    settings: SearchSettings,
    storage: str | Path,
    codes: CodeArray,
) -> None:
    """Let the study at `storage` judge the rows of `codes` (n, genes) first, in order; what it has already is left out.

    A later `search` with the same arguments judges them. A database that is away is waited for. Raises PipelineError
    as `search` does, and where one of them is not inside the limits.
    """
    if not costs.feasible(codes).all():
        raise PipelineError("a network outside the limits cannot be enqueued")
    outage, problem = Outage(storage), FeasibleSpace(space, costs)
    study = outage.through(partial(_Study, problem, evaluator, settings, storage))
    outage.through(partial(study.enqueue, space.canonical(codes)))


class _Study:
    """A study that is open: begun now for these arguments, or before for the same."""

    def __init__(
        self,
        problem: FeasibleSpace,
        evaluator: Evaluator,
        settings: SearchSettings,
        storage: str | Path,
        heartbeat_s: int = _HEARTBEAT_S,
        sampler: type[ProposalSampler] | None = None,
    ) -> None:
        self._problem, self._evaluator, self._settings, self._storage = problem, evaluator, settings, storage
        self._method = settings.method if sampler is None else own_name(sampler)
        self._packing = Packing(problem.space)
        self._front = front_cost(problem.costs) if settings.objective == "front" else None
        self._opened = open_storage(storage, heartbeat_s)
        self._study = optuna.create_study(
            study_name=study_name(storage, settings),
            storage=self._opened,
            sampler=(sampler or sampler_of(settings.method))(problem, settings.seed, self._front),
            pruner=_pruner(settings, evaluator),
            directions=["maximize"] if self._front is None else ["maximize", "minimize"],
            load_if_exists=True,
        )
        self._agree()

    def searcher(self, outage: Outage, progress: Progress | None, hear: Callable[[Candidate], None] | None) -> Searcher:
        """One more worker of this study."""
        crew = DatabaseCrew(self._opened) if is_url(self._storage) else JournalCrew(Path(self._storage))
        return Searcher(
            self._study, crew, self._problem, self._evaluator, self._settings, outage, self._front, progress, hear
        )

    def enqueue(self, codes: CodeArray) -> None:
        """Put each row that the study does not know yet among its waiting trials."""
        rows = [self._packing.row_of(trial) for trial in self._study.get_trials(deepcopy=False)]
        known = {keys(row[None])[0] for row in rows if row is not None}
        for row, key in zip(codes, keys(codes), strict=True):
            if key not in known:
                self._study.enqueue_trial(self._packing.pack(row))
                known.add(key)

    def result(self, exhausted: bool) -> SearchResult:
        """The study as it stands."""
        trials = self._study.get_trials(deepcopy=False)
        complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
        judged = sum(map(was_judged, trials))
        if not complete:
            raise PipelineError("the study has no finished evaluation")
        codes = np.stack([self._packing.unpack(trial.params) for trial in complete])
        found = [self._candidate(trial, row) for trial, row in zip(complete, codes.tolist(), strict=True)]
        found.sort(key=lambda candidate: (-candidate.score, candidate.trial))
        return SearchResult(
            candidates=tuple(found),
            front=undominated(found, front_cost(self._problem.costs)),
            evaluations=judged,
            withdrawn=sum(trial.state is TrialState.PRUNED and not was_judged(trial) for trial in trials),
            failed=sum(trial.state is TrialState.FAIL for trial in trials),
            feasible_share=self._problem.feasible_share,
            exhausted=exhausted,
            seconds=sum(trial.duration.total_seconds() for trial in complete if trial.duration is not None),
            judging_seconds=sum(trial.user_attrs["network"]["seconds"] for trial in complete),
            stopped=judged - len(complete),
        )

    def _candidate(self, trial: FrozenTrial, row: list[int]) -> Candidate:
        network = trial.user_attrs["network"]
        return Candidate(network["arch"], float(trial.values[0]), network["costs"], trial.number, tuple(row))

    def _agree(self) -> None:
        """Refuse to continue a study that was begun for something else."""
        mine = self._identity()
        # Trials first: whoever begins the study says what it is for before its first trial.
        begun = bool(self._study.get_trials(deepcopy=False))
        theirs = self._study.user_attrs.get("identity")
        if theirs is None and begun:
            raise PipelineError(
                f"the study at {without_password(self._storage)} has trials of something else than a search; "
                "give another study"
            )
        if theirs is None:
            self._study.set_user_attr("identity", mine)
            return
        for key, value in mine.items():
            if key in theirs and theirs[key] != value:  # a study of an older version names fewer
                raise PipelineError(
                    f"the study at {without_password(self._storage)} was begun with {key} {theirs.get(key)!r}, "
                    f"not {value!r}, by another configuration or version; search anew (--again), or give another study"
                )

    def _identity(self) -> dict[str, Any]:
        return {
            "genes": json.dumps(dict(zip(self._problem.space.names, self._problem.space.cardinalities, strict=True))),
            "limits": {limit.name: limit.limit for limit in self._problem.costs.limits},
            "fidelity": self._evaluator.fidelity,
            "method": self._method,
            "seed": self._settings.seed,
            "objective": self._settings.objective,
            "subject": self._settings.subject,
            "pruner": self._settings.pruner,
        }


def _pruner(settings: SearchSettings, evaluator: Evaluator) -> optuna.pruners.BasePruner:
    if settings.pruner == "none":
        return optuna.pruners.NopPruner()
    if not isinstance(evaluator, Watched):
        raise PipelineError(
            f"search pruner {settings.pruner!r} stops trainings; {evaluator.fidelity!r} scores have none to stop"
        )
    return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=evaluator.epochs, reduction_factor=REDUCTION)


def study_name(storage: str | Path, settings: SearchSettings) -> str:
    """What the study is called: runs that share a database have one each."""
    return f"{STUDY_NAME}-{settings.subject}" if is_url(storage) and settings.subject else STUDY_NAME


def remove_study(storage: str | Path, settings: SearchSettings) -> None:
    """Remove the study from the database at `storage`, with all its trials; nothing where there is none."""
    with suppress(KeyError):
        optuna.delete_study(study_name=study_name(storage, settings), storage=open_storage(storage))


def finished(storage: str | Path, settings: SearchSettings) -> int:
    """How many evaluations the study at `storage` has; 0 where there is none yet."""
    if not is_url(storage) and not Path(storage).exists():
        return 0
    try:
        study = optuna.load_study(study_name=study_name(storage, settings), storage=open_storage(storage))
    except KeyError:
        return 0
    return sum(map(was_judged, study.get_trials(deepcopy=False)))
