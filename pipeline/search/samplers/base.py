"""What all search methods share: history from the study, feasible proposals, reproducible random numbers."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from pipeline.search.candidates import CodeArray, FloatArray, keys
from pipeline.search.encoding import Encoder
from pipeline.search.packing import Packing
from pipeline.search.pool import AllTakenError, FeasibleSpace, SpaceExhaustedError
from pipeline.search.rungs import comparable, was_judged


@dataclass(frozen=True, slots=True)
class History:
    """What has been judged: codes (n, genes) with scores (n,), higher is better, in the order of the trials.

    `inside` tells which of them are inside the limits of the proposal to be made; `seen` holds the keys of
    everything judged, being judged or queued.
    """

    codes: CodeArray
    scores: FloatArray
    inside: NDArray[np.bool_]
    seen: frozenset[bytes]

    def __len__(self) -> int:
        return len(self.codes)

    def since(self, first: int) -> "History":
        """Only what was judged from number `first` on; everything stays known."""
        if first == 0:
            return self
        return History(self.codes[first:], self.scores[first:], self.inside[first:], self.seen)

    def best_first(self) -> CodeArray:
        """The rows (n, genes) inside the limits, best score first; among equals the earlier one."""
        order = np.argsort(-self.scores, kind="stable")
        return self.codes[order[self.inside[order]]]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a study knows beside one of its trials: how many networks are `judged` and `taken` (being judged or
    queued), and the rows of the `failed` ones that are neither, oldest first."""

    history: History
    judged: int
    taken: int
    failed: CodeArray


class ProposalSampler(BaseSampler):
    """An Optuna sampler that proposes one feasible, unjudged network at a time.

    A method implements `propose`. Its random numbers come from (seed, finished trials), so that a search that
    was killed proposes the same again. With the objective `front`, each proposal is made under a cost limit of
    its own, drawn anew: whatever finds the best network under a limit then finds the front.
    """

    def __init__(self, problem: FeasibleSpace, seed: int, front: str | None = None) -> None:
        self.problem = problem
        self.packing = Packing(problem.space)
        self.seed = seed
        self.front = front
        self._codes: dict[int, CodeArray] = {}
        self._start = self.start_codes()

    @cached_property
    def encoder(self) -> Encoder:
        """What predictors see of a candidate."""
        return Encoder(self.problem.space, self.problem.costs, self._start)

    def learning_from(self, history: History) -> int:
        """How many judged networks the next proposal learns from."""
        return len(history)

    @abstractmethod
    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        """Rows (n, genes) worth judging next, best first; the caller drops infeasible and seen ones among them."""

    def next(self, history: History, rng: np.random.Generator) -> CodeArray:
        """The row (genes,) to judge next: the first feasible unseen one that the method proposes, else a random one.

        Raises SpaceExhaustedError where no feasible network is left.
        """
        problem = self.problem
        if self.front is not None:
            problem, history = self._under_a_cap(history, rng)
        proposed = problem.proper(self.propose(history, problem, rng), history.seen)
        if not len(proposed):
            proposed = problem.random(1, rng, history.seen)
        if not len(proposed):
            proposed = self.problem.random(1, rng, history.seen)
        if not len(proposed):
            raise SpaceExhaustedError("every feasible network of the space has been judged")
        row: CodeArray = proposed[0]
        return row

    def start_codes(self) -> CodeArray:
        """The same random feasible rows (n, genes) for every method of a seed: fair comparisons begin alike."""
        return self.problem.random(64, np.random.default_rng([self.seed, 1]))

    # -- Optuna ------------------------------------------------------------------------------------

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.packing.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The first network whose trial has failed, else what the method proposes."""
        known = self._known(study, trial)
        if len(known.failed):
            return dict(self.packing.pack(known.failed[0]))
        history = known.history
        rng = np.random.default_rng([self.seed, 2, len(history), known.judged + known.taken - len(history)])
        try:
            return dict(self.packing.pack(self.next(history, rng)))
        except SpaceExhaustedError as error:
            if known.taken:
                raise AllTakenError(str(error)) from None
            raise

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise RuntimeError(f"{param_name!r} is no parameter of the space that this sampler proposes from")

    def reseed_rng(self) -> None:
        """Nothing to do: workers differ by the trials they see, and stay reproducible."""

    def _known(self, study: Study, trial: FrozenTrial) -> "_Known":
        taken: list[CodeArray] = []
        failed: list[CodeArray] = []
        judged: list[FrozenTrial] = []
        for other in study.get_trials(deepcopy=False):
            if other.number == trial.number:
                continue
            if was_judged(other):
                judged.append(other)
                if other.number not in self._codes:
                    self._codes[other.number] = self.packing.unpack(other.params)
            elif other.state is not TrialState.PRUNED and (row := self.packing.row_of(other)) is not None:
                (failed if other.state is TrialState.FAIL else taken).append(row)
        known = self._rows([self._codes[other.number] for other in judged])
        learned = comparable(judged)
        codes = self._rows([self._codes[other.number] for other, _ in learned])
        scores = np.array([score for _, score in learned], dtype=np.float64)
        seen = frozenset(keys(known)) | frozenset(keys(self._rows(taken)))
        history = History(codes, scores, np.ones(len(codes), dtype=bool), seen)
        return _Known(history, len(judged), len(taken), self.problem.proper(self._rows(failed), seen))

    def _rows(self, rows: list[CodeArray]) -> CodeArray:
        return np.array(rows, dtype=np.uint8).reshape(len(rows), len(self.problem.space.cardinalities))

    def _under_a_cap(self, history: History, rng: np.random.Generator) -> tuple[FeasibleSpace, History]:
        cost = self.problem.costs[self.front or ""]
        among = cost.of(self._start) * cost.margin
        low, high = float(among.min()), float(among.max())
        cap = low + (high - low) * rng.random()
        narrow = self.problem.narrowed(cost.name, cap)
        return narrow, History(history.codes, history.scores, narrow.costs.feasible(history.codes), history.seen)
