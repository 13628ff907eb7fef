"""Feasible candidates in bulk: the whole space where it is small, else random ones, costed vectorised."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from pipeline.errors import PipelineError
from pipeline.search.candidates import CandidateSpace, CodeArray, distinct, enumerate_codes, keys
from pipeline.search.costs import Costs

_DRAW: Final = 1 << 14
_DRAWS_UP_TO: Final = 1 << 21  # about two seconds of drawing and costing
_WALKS_UP_TO: Final = 300


class SpaceExhaustedError(PipelineError):
    """Every feasible network that could be found has been proposed already."""


@dataclass(slots=True)
class Problem:
    """What is searched: candidates and their costs. `start` is a known feasible row, for budgets so tight that
    random networks hardly ever fit."""

    space: CandidateSpace
    costs: Costs
    start: CodeArray | None = None
    _everything: CodeArray | None = field(default=None, init=False)
    _asked: bool = field(default=False, init=False)

    def everything(self) -> CodeArray | None:
        """Every feasible row in a fixed order, or None where the space is too large to enumerate."""
        if not self._asked:
            rows = enumerate_codes(self.space)
            self._everything = None if rows is None else rows[self.costs.feasible(rows)]
            self._asked = True
        return self._everything

    def narrowed(self, name: str, limit: float) -> "Problem":
        """The same problem under a tighter limit on cost `name`."""
        narrow = Problem(self.space, self.costs.with_limit(name, limit), None)
        everything = self.everything()
        narrow._asked = True
        narrow._everything = None if everything is None else everything[narrow.costs.feasible(everything)]
        narrow.start = self.start if self.start is not None and narrow.costs.feasible(self.start).all() else None
        return narrow

    def random(self, n: int, rng: np.random.Generator, seen: frozenset[bytes] | set[bytes] = frozenset()) -> CodeArray:
        """Up to `n` distinct feasible rows not in `seen`, uniform over distinct networks where that is affordable.

        Where so few networks fit that two million draws find fewer, the rest come from random walks inside
        the budget. May return fewer rows than asked for, even none: then hardly any are left.
        """
        everything = self.everything()
        if everything is not None:
            return self.unseen(everything[rng.permutation(len(everything))], seen)[:n]
        found = self._drawn(n, rng, seen)
        return found if len(found) >= n else self._walked(found, n, rng, seen)

    def unseen(self, codes: CodeArray, seen: frozenset[bytes] | set[bytes]) -> CodeArray:
        """The rows of `codes` that are not in `seen`, in order."""
        if not seen or not len(codes):
            return codes
        return codes[[key not in seen for key in keys(codes)]]

    def proper(self, codes: CodeArray, seen: frozenset[bytes] | set[bytes]) -> CodeArray:
        """`codes` made canonical, without infeasible, repeated and seen ones, in order."""
        codes = distinct(self.space.canonical(codes))
        return self.unseen(codes[self.costs.feasible(codes)], seen)

    def mutants(self, parents: CodeArray, rng: np.random.Generator, rate: float) -> CodeArray:
        """One canonical row per parent: each gene drawn anew with probability `rate`, at least one of them."""
        return self.space.canonical(mutate(parents, self.space.cardinalities, rng, rate))

    def _drawn(self, n: int, rng: np.random.Generator, seen: frozenset[bytes] | set[bytes]) -> CodeArray:
        found = np.empty((0, len(self.space.cardinalities)), dtype=np.uint8)
        drawn = 0
        while len(found) < n and drawn < _DRAWS_UP_TO:
            rows = self.space.sample(_DRAW, rng)
            drawn += _DRAW
            found = np.concatenate([found, rows[self.costs.feasible(rows)]])
            if len(found) >= n or drawn == _DRAWS_UP_TO:
                found = self.unseen(distinct(found), seen)
            if drawn >= _DRAWS_UP_TO // 16 and len(found) < n * drawn / _DRAWS_UP_TO:
                break  # it would take too long: walk instead
        return self.unseen(distinct(found), seen)[:n]

    def _walked(
        self, found: CodeArray, n: int, rng: np.random.Generator, seen: frozenset[bytes] | set[bytes]
    ) -> CodeArray:
        starts = found if self.start is None else np.concatenate([found, self.start])
        if not len(starts):
            return found
        walkers = starts[rng.integers(len(starts), size=max(64, min(n, 4096)))]
        for _ in range(_WALKS_UP_TO):
            steps = self.mutants(walkers, rng, 1.5 / len(self.space.cardinalities))
            inside = self.costs.feasible(steps)
            walkers = np.where(inside[:, None], steps, walkers)
            found = self.unseen(distinct(np.concatenate([found, walkers])), seen)
            if len(found) >= n:
                break
        return found[rng.permutation(len(found))][:n]


def mutate(
    parents: CodeArray, cardinalities: tuple[int, ...], rng: np.random.Generator, rate: float
) -> CodeArray:
    """Copies of `parents` (n, genes), each gene drawn anew with probability `rate`, at least one changed."""
    options = np.array(cardinalities)
    free = np.flatnonzero(options > 1)
    if not len(free) or not len(parents):
        return parents.copy()
    change = rng.random(parents.shape) < rate
    change[np.arange(len(parents)), rng.choice(free, size=len(parents))] = True
    # A shift by 1..options-1 never lands on the old value.
    shift = 1 + np.floor(rng.random(parents.shape) * np.maximum(options - 1, 1)).astype(np.int64)
    return np.where(change & (options > 1), (parents + shift) % options, parents).astype(np.uint8)
