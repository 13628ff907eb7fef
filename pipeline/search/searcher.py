"""One worker of a search: it takes networks from the study, judges them, and outlives restarts of the storage."""

import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.errors import PipelineError
from pipeline.progress import Progress
from pipeline.search.candidates import CodeArray, keys
from pipeline.search.crew import Crew, fail
from pipeline.search.evaluators import Evaluator, Watched
from pipeline.search.packing import Packing, named_attributes
from pipeline.search.pool import AllTakenError, FeasibleSpace, SpaceExhaustedError
from pipeline.search.results import Candidate
from pipeline.search.rungs import was_judged
from pipeline.search.settings import SearchSettings
from pipeline.search.storage import Outage, interrupt_behind, storage_failure

_POLL_S: Final = 0.02
_UNANNOUNCED_S: Final = 60.0  # a proposal takes a fraction of a second; who is silent for longer is dead


class Searcher:
    """Judges the networks that the study's sampler proposes; several share one study.

    `front` is the second objective, a cost. `progress` and `hear` are told of the study's evaluations, and of each
    network judged here.
    """

    def __init__(
        self,
        study: optuna.Study,
        crew: Crew,
        problem: FeasibleSpace,
        evaluator: Evaluator,
        settings: SearchSettings,
        outage: Outage,
        front: str | None = None,
        progress: Progress | None = None,
        hear: Callable[[Candidate], None] | None = None,
    ) -> None:
        self._study, self._crew, self._problem, self._evaluator = study, crew, problem, evaluator
        self._settings, self._outage, self._front = settings, outage, front
        self._progress, self._hear = progress, hear
        self._packing = Packing(problem.space)
        everything = problem.everything
        self._networks = math.inf if everything is None else len(everything)
        self._judging_failed: Exception | None = None
        self._own_error: Exception | None = None  # the last one that an evaluation, or the storage during it, raised
        self._latest: Candidate | None = None
        self._open: int | None = None  # the trial at work
        self._left_over = False  # whether a trial of this worker may still be running in the study
        self._all_taken = False
        self._held: frozenset[int] = frozenset()  # trials that held every network left when this worker asked last
        self.exhausted = False

    def run(self) -> None:
        """Evaluate until the study has all its evaluations, or no network is left.

        Raises what the evaluator raises, and PipelineError where the storage stays away.
        """
        with self._crew.present():
            while not self.exhausted:
                try:
                    if self._advance():
                        break
                    self._outage.over()
                except Exception as error:
                    if (interrupt := interrupt_behind(error)) is not None:
                        raise interrupt from None
                    if self._judging_failed is not None:
                        raise self._judging_failed from None
                    if not self._was_taken_away(error):
                        self._outage.wait(error)
                    self._left_over = True

    def _advance(self) -> bool:
        """One more evaluation, or a wait for others; True where the study has all of its evaluations."""
        if self._left_over:
            self._crew.give_up(self._study)
            self._left_over = False
        self._crew.reclaim(self._study)
        trials = self._study.get_trials(deepcopy=False)
        done = sum(map(was_judged, trials))
        running = frozenset(trial.number for trial in trials if trial.state is TrialState.RUNNING)
        self._outage.over()
        if self._progress is not None:
            self._progress(done, self._settings.evaluations, "evaluations")
        if done >= self._settings.evaluations:
            return True
        if done and done >= self._networks:
            self.exhausted = True
        elif done + len(running) >= self._settings.evaluations or (self._held and self._held <= running):
            # Others hold the last ones; stay, in case one of them dies.
            time.sleep(_POLL_S * 10)
        else:
            self._take_one()
            self._held = running if self._all_taken else frozenset()
        return False

    def _take_one(self) -> None:
        self._all_taken, self._latest, self._open = False, None, None
        self._study.optimize(self._objective, n_trials=1)
        if self._latest is not None and self._hear is not None:
            self._hear(self._latest)

    def _was_taken_away(self, error: Exception) -> bool:
        """Whether `error` tells that others took this worker for dead, and its trial from it: after an outage, or
        after a while in which its machine slept."""
        if self._open is None or error is self._own_error or storage_failure(error) is not None:
            return False
        states = self._outage.through(
            lambda: {trial.number: trial.state for trial in self._study.get_trials(deepcopy=False)}
        )
        return states.get(self._open) is TrialState.FAIL

    def _objective(self, trial: Trial) -> float | tuple[float, float]:
        try:
            return self._evaluated(trial)
        except UpdateFinishedTrialError:
            raise
        except Exception as error:
            self._own_error = error
            raise

    def _evaluated(self, trial: Trial) -> float | tuple[float, float]:
        self._open = trial.number
        self._outage.through(partial(self._crew.sign, trial))
        try:
            row = self._outage.through(partial(self._packing.suggest, trial))
        except AllTakenError:
            self._all_taken = True
            raise optuna.TrialPruned("others judge all networks that are left") from None
        except SpaceExhaustedError:
            self.exhausted = True
            raise optuna.TrialPruned("no feasible network is left") from None
        if not self._outage.through(partial(self._claim, trial, row)):
            raise optuna.TrialPruned("another worker has this network, or the last evaluation")
        codes = row[None]
        (arch,) = self._problem.space.decode(codes)
        began = time.perf_counter()
        score = self._judged(trial, arch)
        seconds = time.perf_counter() - began
        values = {name: float(value[0]) for name, value in self._problem.costs.values(codes).items()}
        self._outage.through(partial(self._describe, trial, codes, arch, values, seconds))
        self._latest = Candidate(str(arch), score, values, trial.number, tuple(row.tolist()))
        return score if self._front is None else (score, values[self._front])

    def _describe(self, trial: Trial, codes: CodeArray, arch: Any, values: dict[str, float], seconds: float) -> None:
        """Write beside the trial what its network is."""
        violations = {name: float(exceeded[0]) for name, exceeded in self._problem.costs.violations(codes).items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # some may stand there, from before the storage went away
            for name, exceeded in violations.items():
                trial.set_constraint(name, exceeded)
        for name, told in named_attributes(arch, values, violations).items():
            trial.set_user_attr(name, told)
        judged = {"arch": str(arch), "costs": values, "fidelity": self._evaluator.fidelity, "seconds": seconds}
        trial.set_user_attr("network", judged)

    def _judged(self, trial: Trial, arch: Any) -> float:
        """The score of `arch`; TrialPruned where the study's pruner stops its training."""
        try:
            score = float(self._scored(trial, arch))
            if math.isnan(score):
                raise PipelineError(f"the score of network {arch} is no number; higher is better")
        except (optuna.TrialPruned, UpdateFinishedTrialError):
            raise
        except Exception as error:
            self._judging_failed = error  # not to be taken for a failure of the storage
            raise
        return score

    def _scored(self, trial: Trial, arch: Any) -> float:
        evaluator = self._evaluator
        if self._settings.pruner == "none" or not isinstance(evaluator, Watched):
            (score,) = evaluator.evaluate([arch])
            return score

        def falls_behind(epoch: int, value: float) -> bool:
            trial.report(value, epoch)
            return epoch < evaluator.epochs and trial.should_prune()

        def report(epoch: int, value: float) -> None:
            if self._outage.through(partial(falls_behind, epoch, value)):
                raise optuna.TrialPruned(f"fell behind after {epoch} of {evaluator.epochs} epochs")

        return evaluator.watched(arch, report)

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
            self._crew.reclaim(self._study)  # a dead one never says what it wanted
        done = [t for t in trials if was_judged(t)]
        if len(done) + len(ahead) >= self._settings.evaluations:
            return False
        return all(self._wanted(other) != wanted for other in (*done, *ahead))

    def _wanted(self, trial: FrozenTrial) -> bytes | None:
        """The network of another trial; None where it has not said yet."""
        row = self._packing.row_of(trial)
        return None if row is None else keys(row[None])[0]
