"""One search = one Optuna study: proposals under the limits, each judged once, resumable, shared by workers."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.errors import InfeasibleBudget, PipelineError
from pipeline.own import own_name
from pipeline.progress import Progress
from pipeline.search.candidates import CandidateSpace, CodeArray, keys
from pipeline.search.costs import Costs
from pipeline.search.evaluators import Evaluator, Watched
from pipeline.search.packing import Packing, named_attributes
from pipeline.search.pool import FeasibleSpace, SpaceExhaustedError
from pipeline.search.rungs import REDUCTION, was_judged
from pipeline.search.samplers import ProposalSampler, sampler_of
from pipeline.search.settings import SearchSettings
from pipeline.search.storage import (
    WORKER_ATTRIBUTE,
    Outage,
    RollCall,
    fail,
    fail_stale,
    is_url,
    open_storage,
    requeue,
    without_password,
)

STUDY_NAME: Final = "search"
_HEARTBEAT_S: Final = 10
_POLL_S: Final = 0.02
_UNANNOUNCED_S: Final = 60.0  # a proposal takes a fraction of a second; who is silent for longer is dead


@dataclass(frozen=True, slots=True)
class Candidate:
    """A judged network. `arch` is its spelling, `costs` are by name (latency_ms, macs, …) without margins."""

    arch: str
    score: float
    costs: Mapping[str, float]
    trial: int
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found, best first (`front`: the undominated ones in score and the front's cost).

    `stopped` networks fell behind in training (`[search] pruner`); they count as evaluations and have no score.
    `seconds` is the time of its evaluations and proposals, summed over workers and earlier calls, `judging_seconds`
    that of the evaluations alone.
    """

    candidates: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    evaluations: int
    withdrawn: int
    failed: int
    feasible_share: float
    exhausted: bool
    seconds: float
    judging_seconds: float
    stopped: int = 0

    @property
    def best(self) -> Candidate:
        """The candidate of the highest score; the earliest one among equals."""
        return self.candidates[0]


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
    answered before, a database that is away at the beginning is waited for; else that is an error at once.

    Raises InfeasibleBudget at once where no network is inside the limits, PipelineError where the study was
    begun for another space, budget, evaluator, method or seed.
    """
    problem = FeasibleSpace(space, costs, costs.ensure_reachable())
    if not len(problem.random(1, np.random.default_rng(settings.seed))):
        raise InfeasibleBudget("no network inside all limits was found; the least over its limits was not enough")
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        begin = partial(_Worker, problem, evaluator, settings, storage, progress, heartbeat_s, sampler, hear)
        outage = Outage(storage)
        worker = outage.through(begin) if known_storage else begin()
        worker.run()
        return outage.through(worker.result)
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
    """Let the study at `storage` judge the rows of `codes` first, in their order; what it has already is left out.

    A later `search` with the same arguments judges them. A database that is away is waited for. Raises PipelineError
    as `search` does, and where one of them is not inside the limits.
    """
    if not costs.feasible(codes).all():
        raise PipelineError("a network outside the limits cannot be enqueued")
    outage, problem = Outage(storage), FeasibleSpace(space, costs)
    worker = outage.through(partial(_Worker, problem, evaluator, settings, storage, None, _HEARTBEAT_S))
    outage.through(partial(worker.enqueue, space.canonical(codes)))


class _Worker:
    def __init__(
        self,
        problem: FeasibleSpace,
        evaluator: Evaluator,
        settings: SearchSettings,
        storage: str | Path,
        progress: Progress | None,
        heartbeat_s: int,
        sampler: type[ProposalSampler] | None = None,
        hear: Callable[[Candidate], None] | None = None,
    ) -> None:
        self._method = settings.method if sampler is None else own_name(sampler)
        self._problem, self._evaluator, self._settings = problem, evaluator, settings
        self._progress, self._hear = progress, hear
        self._latest: Candidate | None = None
        self._packing = Packing(problem.space)
        self._front = front_cost(problem.costs) if settings.objective == "front" else None
        self._outage = Outage(storage)
        self._judging_failed: Exception | None = None
        self._open_trial: int | None = None
        self._study = optuna.create_study(
            study_name=study_name(storage, settings),
            storage=open_storage(storage, heartbeat_s),
            sampler=(sampler or sampler_of(settings.method))(problem, settings.seed, self._front),
            pruner=_pruner(settings, evaluator),
            directions=["maximize"] if self._front is None else ["maximize", "minimize"],
            load_if_exists=True,
        )
        self._roll_call = None if is_url(storage) else RollCall(Path(storage))
        self._exhausted = False
        everything = problem.everything
        self._networks = math.inf if everything is None else len(everything)
        self._agree(storage)

    def run(self) -> None:
        """Evaluate until the study has all its evaluations, or no network is left."""
        with ExitStack() as stack:
            if self._roll_call is not None:
                stack.enter_context(self._roll_call.present())
            while not self._exhausted:
                try:
                    if self._advance():
                        break
                    self._outage.over()
                except Exception as error:
                    if self._judging_failed is not None:
                        raise self._judging_failed from None
                    self._outage.wait(error)
                    self._hand_back()

    def _advance(self) -> bool:
        """One more evaluation, or a wait for others; True where the study has all of its evaluations."""
        self._reclaim()
        trials = self._study.get_trials(deepcopy=False)
        done = sum(map(was_judged, trials))
        running = sum(trial.state is TrialState.RUNNING for trial in trials)
        self._outage.over()
        if self._progress is not None:
            self._progress(done, self._settings.evaluations, "evaluations")
        if done >= self._settings.evaluations:
            return True
        if done and done >= self._networks:
            self._exhausted = True
        elif done + running >= self._settings.evaluations:
            # Others hold the last ones; stay, in case one of them dies.
            time.sleep(_POLL_S * 10)
        else:
            self._latest = None
            self._study.optimize(self._objective, n_trials=1)
            if self._latest is not None and self._hear is not None:
                self._hear(self._latest)
        return False

    def _hand_back(self) -> None:
        """Queue the network of the trial during which the storage failed: it is judged, or remembered, again."""
        number, self._open_trial = self._open_trial, None
        if number is None:
            return
        try:
            trial = next((t for t in self._study.get_trials(deepcopy=False) if t.number == number), None)
            if trial is not None and (trial.state is TrialState.FAIL or fail(self._study, number)):
                requeue(self._study, trial)
        except Exception as error:
            self._open_trial = number
            self._outage.wait(error)

    def enqueue(self, codes: CodeArray) -> None:
        """Put each row that the study does not know yet among its waiting trials."""
        known = {self._wanted(trial) for trial in self._study.get_trials(deepcopy=False)}
        for row, key in zip(codes, keys(codes), strict=True):
            if key not in known:
                self._study.enqueue_trial(self._packing.pack(row))
                known.add(key)

    def result(self) -> SearchResult:
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
            exhausted=self._exhausted,
            seconds=sum(trial.duration.total_seconds() for trial in complete if trial.duration is not None),
            judging_seconds=sum(trial.user_attrs["network"]["seconds"] for trial in complete),
            stopped=judged - len(complete),
        )

    def _objective(self, trial: Trial) -> float | tuple[float, float]:
        self._open_trial = trial.number
        if self._roll_call is not None:
            trial.set_user_attr(WORKER_ATTRIBUTE, self._roll_call.name)
        try:
            row = self._packing.suggest(trial)
        except SpaceExhaustedError:
            self._exhausted = True
            raise optuna.TrialPruned("no feasible network is left") from None
        if not self._claim(trial, row):
            raise optuna.TrialPruned("another worker has this network, or the last evaluation")
        codes = row[None]
        (arch,) = self._problem.space.decode(codes)
        began = time.perf_counter()
        try:
            score = self._judged(trial, arch)
        except optuna.TrialPruned:
            raise
        except Exception as error:
            self._judging_failed = error  # not to be taken for a failure of the storage
            raise
        seconds = time.perf_counter() - began
        values = {name: float(value[0]) for name, value in self._problem.costs.values(codes).items()}
        violations = {name: float(exceeded[0]) for name, exceeded in self._problem.costs.violations(codes).items()}
        for name, exceeded in violations.items():
            trial.set_constraint(name, exceeded)
        for name, told in named_attributes(arch, values, violations).items():
            trial.set_user_attr(name, told)
        judged = {"arch": str(arch), "costs": values, "fidelity": self._evaluator.fidelity, "seconds": seconds}
        trial.set_user_attr("network", judged)
        self._latest = Candidate(str(arch), float(score), values, trial.number, tuple(row.tolist()))
        return score if self._front is None else (score, values[self._front])

    def _judged(self, trial: Trial, arch: Any) -> float:
        """The score of `arch`; TrialPruned where the study's pruner stops its training."""
        evaluator = self._evaluator
        if self._settings.pruner == "none" or not isinstance(evaluator, Watched):
            (score,) = evaluator.evaluate([arch])
            return score

        def report(epoch: int, value: float) -> None:
            trial.report(value, epoch)
            if epoch < evaluator.epochs and trial.should_prune():
                raise optuna.TrialPruned(f"fell behind after {epoch} of {evaluator.epochs} epochs")

        return evaluator.watched(arch, report)

    def _reclaim(self) -> None:
        """Give out again what dead workers left."""
        if self._roll_call is None:
            fail_stale(self._study)
        else:
            self._roll_call.reclaim(self._study)

    def _claim(self, trial: Trial, row: CodeArray) -> bool:
        """Whether this trial may be evaluated: no earlier one has its network or the study's last evaluation.

        A trial yields to those of smaller numbers, and waits until these have announced their networks: two workers
        that choose the same network at the same moment never both keep it (Lamport 1974).
        """
        (wanted,) = keys(row[None])
        began = time.monotonic()
        while True:
            trials = self._study.get_trials(deepcopy=False)
            ahead = [t for t in trials if t.state is TrialState.RUNNING and t.number < trial.number]
            silent = [t for t in ahead if self._wanted(t) is None]
            if not silent:
                break
            if time.monotonic() - began > _UNANNOUNCED_S:
                for other in silent:
                    fail(self._study, other.number)
            time.sleep(_POLL_S)
            self._reclaim()  # a dead one never says what it wanted
        done = [t for t in trials if was_judged(t)]
        if len(done) + len(ahead) >= self._settings.evaluations:
            return False
        return all(self._wanted(other) != wanted for other in (*done, *ahead))

    def _wanted(self, trial: FrozenTrial) -> bytes | None:
        """The network of another trial; None where it has not said yet."""
        params = trial.system_attrs.get("fixed_params") or trial.params
        if not params.keys() >= self._packing.distributions.keys():
            return None
        return keys(self._packing.unpack(params)[None])[0]

    def _candidate(self, trial: FrozenTrial, row: list[int]) -> Candidate:
        network = trial.user_attrs["network"]
        return Candidate(network["arch"], float(trial.values[0]), network["costs"], trial.number, tuple(row))

    def _agree(self, storage: str | Path) -> None:
        """Refuse to continue a study that was begun for something else."""
        mine = self._identity()
        # Trials first: whoever begins the study says what it is for before its first trial.
        begun = bool(self._study.get_trials(deepcopy=False))
        theirs = self._study.user_attrs.get("identity")
        if theirs is None and begun:
            raise PipelineError(
                f"the study at {without_password(storage)} has trials of something else than a search; "
                "give another study"
            )
        if theirs is None:
            self._study.set_user_attr("identity", mine)
            return
        for key, value in mine.items():
            if key in theirs and theirs[key] != value:  # a study of an older version names fewer
                raise PipelineError(
                    f"the study at {without_password(storage)} was begun with {key} {theirs.get(key)!r}, "
                    f"not {value!r}; give another study, or remove this one"
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


def front_cost(costs: Costs) -> str:
    """The cost that a front trades accuracy for: the first limited one, else the first there is."""
    return costs.limits[0].name if costs.limits else costs.costs[0].name


def undominated(candidates: Sequence[Candidate], cost: str) -> tuple[Candidate, ...]:
    """The candidates that no other beats in score at no higher `cost`, cheapest first."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.costs[cost], -c.score, c.trial)):
        if not front or candidate.score > front[-1].score:
            front.append(candidate)
    return tuple(front)
