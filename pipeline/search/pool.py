"""Feasible candidates in bulk: the whole space where it is small, else random ones, costed vectorised."""

from collections.abc import Set
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.search.candidates import CandidateSpace, CodeArray, distinct, enumerate_codes, keys
from pipeline.search.costs import Costs

_DRAW: Final = 1 << 14
_PROBE: Final = 1 << 16
_RESERVOIR: Final = 2048
_REJECTION_FROM: Final = 1e-3  # share of feasible networks from which drawing until one fits is quick
_MIXING_STEPS: Final = 150
_WALK_STEPS: Final = 20
_WALKS_UP_TO: Final = 30
_REPAIR_STEPS: Final = 12
_REPAIR_TRIES: Final = 8


class SpaceExhaustedError(PipelineError):
    """Every feasible network that could be found has been proposed already."""


class AllTakenError(SpaceExhaustedError):
    """As its base, but some are still being judged: where that fails, they can be had again."""


Seen = Set[bytes]


class FeasibleSpace:
    """What is searched: candidates and their costs.

    `start` is a known feasible row (1, genes), for budgets so tight that random networks hardly ever fit.
    """

    def __init__(self, space: CandidateSpace, costs: Costs, start: CodeArray | None = None) -> None:
        self.space, self.costs, self.start = space, costs, start

    @cached_property
    def everything(self) -> CodeArray | None:
        """Every feasible row in a fixed order, (n, genes); None where the space is too large to enumerate."""
        rows = enumerate_codes(self.space)
        return None if rows is None else rows[self.costs.feasible(rows)]

    @cached_property
    def feasible_share(self) -> float:
        """The share of the space's distinct networks inside the limits: exact, or from 65,536 random ones."""
        rows = enumerate_codes(self.space)
        if rows is None:
            rows = self.space.sample(_PROBE, np.random.default_rng(0))
        return float(self.costs.feasible(rows).mean())

    @cached_property
    def reservoir(self) -> CodeArray:
        """A fixed set of about 2,000 random feasible rows (n, genes), to start from; all of them in a small space."""
        if self.everything is not None:
            return self.everything
        rng = np.random.default_rng(1)
        rows = self.space.sample(_PROBE, rng)
        found = distinct(rows[self.costs.feasible(rows)])[:_RESERVOIR]
        if len(found) == _RESERVOIR:
            return found
        starts = found if self.start is None else np.concatenate([found, self.start])
        if not len(starts):
            return starts
        return distinct(self._walk(starts[rng.integers(len(starts), size=_RESERVOIR)], _MIXING_STEPS, rng))

    def narrowed(self, name: str, limit: float) -> "FeasibleSpace":
        """The same problem under a tighter limit on cost `name`."""
        costs = self.costs.with_limit(name, limit)
        narrow = FeasibleSpace(self.space, costs)
        if self.start is not None and costs.feasible(self.start).all():
            narrow.start = self.start
        everything, reservoir = self.everything, self.reservoir
        narrow.everything = None if everything is None else everything[costs.feasible(everything)]
        narrow.reservoir = reservoir[costs.feasible(reservoir)]
        narrow.feasible_share = self.feasible_share * len(narrow.reservoir) / max(1, len(reservoir))
        return narrow

    def random(self, n: int, rng: np.random.Generator, seen: Seen = frozenset()) -> CodeArray:
        """Up to `n` distinct feasible rows (n, genes) not in `seen`, uniform over distinct networks.

        Where fewer than one network in a thousand fits, they are the ends of random walks inside the budget,
        which is uniform only nearly. May return fewer rows than asked for, even none: then hardly any are left.
        """
        if self.everything is not None:
            return self.unseen(self.everything[rng.permutation(len(self.everything))], seen)[:n]
        if self.feasible_share >= _REJECTION_FROM:
            return self._drawn(n, rng, seen)
        return self._walked(n, rng, seen)

    def unseen(self, codes: CodeArray, seen: Seen) -> CodeArray:
        """The rows of `codes` (n, genes) that are not in `seen`, in order."""
        if not seen or not len(codes):
            return codes
        return codes[[key not in seen for key in keys(codes)]]

    def proper(self, codes: CodeArray, seen: Seen) -> CodeArray:
        """`codes` (n, genes) made canonical, without infeasible, repeated and seen ones, in order."""
        codes = distinct(self.space.canonical(codes))
        return self.unseen(codes[self.costs.feasible(codes)], seen)

    def mutants(self, parents: CodeArray, rng: np.random.Generator, rate: float) -> CodeArray:
        """One canonical row per parent (n, genes): each gene drawn anew with probability `rate`, at least one."""
        return self.space.canonical(mutate(parents, self.space.cardinalities, rng, rate))

    def _drawn(self, n: int, rng: np.random.Generator, seen: Seen) -> CodeArray:
        found = np.empty((0, len(self.space.cardinalities)), dtype=np.uint8)
        draws = int(np.clip(1.5 * n / self.feasible_share, 64, _DRAW))
        for _ in range(10 + 4 * int(n / self.feasible_share) // draws):
            rows = self.space.sample(draws, rng)
            rows = self.unseen(rows[self.costs.feasible(rows)], seen)
            found = distinct(np.concatenate([found, rows]))
            if len(found) >= n:
                break
        return found[:n]

    def _walked(self, n: int, rng: np.random.Generator, seen: Seen) -> CodeArray:
        found = np.empty((0, len(self.space.cardinalities)), dtype=np.uint8)
        if not len(self.reservoir):
            return found
        for _ in range(_WALKS_UP_TO):
            starts = self.reservoir[rng.integers(len(self.reservoir), size=max(16, n))]
            found = distinct(np.concatenate([found, self.unseen(self._walk(starts, _WALK_STEPS, rng), seen)]))
            if len(found) >= n:
                break
        return found[:n]

    def _walk(self, rows: CodeArray, steps: int, rng: np.random.Generator) -> CodeArray:
        """Where random walks from `rows` are after `steps` steps; a step out of the budget is not taken."""
        for _ in range(steps):
            moved = self.mutants(rows, rng, 1.5 / len(self.space.cardinalities))
            rows = np.where(self.costs.feasible(moved)[:, None], moved, rows)
        return rows


class Niche(FeasibleSpace):
    """The part of a problem in which gene `gene` has option `option`; whatever is proposed is moved there."""

    def __init__(self, whole: FeasibleSpace, gene: int, option: int) -> None:
        super().__init__(whole.space, whole.costs)
        self._gene, self._option = gene, option
        self.everything = None
        self.feasible_share = whole.feasible_share
        moved = self._moved(whole.reservoir)
        self.reservoir = distinct(moved[whole.costs.feasible(moved)])

    def proper(self, codes: CodeArray, seen: Seen) -> CodeArray:
        """As in the whole problem, after moving `codes` (n, genes) into the niche."""
        return super().proper(self._moved(codes), seen)

    def holds(self, codes: CodeArray) -> NDArray[np.bool_]:
        """Which rows of `codes` (n, genes) are in this niche, shape (n,)."""
        return np.asarray(codes[:, self._gene] == self._option)

    def repaired(self, codes: CodeArray, rng: np.random.Generator) -> CodeArray:
        """`codes` (n, genes) moved here, and changed one gene at a time, each for the cheaper, until they fit.

        Rows that still do not fit after a dozen changes are left out.
        """
        codes = self._moved(codes)
        done: list[CodeArray] = []
        for _ in range(_REPAIR_STEPS):
            worst = self.costs.worst_violation(codes)
            done.append(codes[worst <= 0])
            codes, worst = codes[worst > 0], worst[worst > 0]
            if not len(codes):
                break
            tried = self._moved(self.mutants(np.repeat(codes, _REPAIR_TRIES, axis=0), rng, 0.0))
            violations = self.costs.worst_violation(tried).reshape(-1, _REPAIR_TRIES)
            cheaper: NDArray[np.bool_] = np.asarray(violations < worst[:, None])
            chosen = np.argmax(cheaper * (1 + rng.random(cheaper.shape)), axis=1)
            changed = tried.reshape(len(codes), _REPAIR_TRIES, -1)[np.arange(len(codes)), chosen]
            codes = np.where(np.any(cheaper, axis=1, keepdims=True), changed, codes)
        return np.concatenate(done)

    def _moved(self, codes: CodeArray) -> CodeArray:
        moved = codes.copy()
        moved[:, self._gene] = self._option
        return self.space.canonical(moved)


def mutate(parents: CodeArray, cardinalities: tuple[int, ...], rng: np.random.Generator, rate: float) -> CodeArray:
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
