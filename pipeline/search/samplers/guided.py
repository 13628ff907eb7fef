"""The default: a Gaussian process learns from every judged network and points at the most promising next one."""

from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.search.candidates import CodeArray, FloatArray, distinct
from pipeline.search.engine import evolve
from pipeline.search.pool import FeasibleSpace, Niche, mutate
from pipeline.search.predictor import Hyperparameters, Predictor, learn_hyperparameters
from pipeline.search.samplers.base import History, ProposalSampler
from pipeline.search.samplers.local import neighbours

_START: Final = 5  # random networks before the first prediction
_NICHES_FROM: Final = 20
_NICHE_SHARE: Final = 0.5
_LEARN_FROM: Final = 512  # judged networks that predictions are conditioned on
_GENERATIONS: Final = 6
_PARENTS: Final = 48
_RANDOM_PARENTS: Final = 16
_UNSURE: Final = 1024  # rows whose uncertainty is computed, after a look at the mean of all
_LEVERAGE_ROWS: Final = 256
_PATIENCE: Final = 200
_PATIENT_SHARE: Final = 1 / 5
_STALLED: Final = 60  # networks judged in a row without a better one
_TRUSTING_SHARE: Final = 0.5
_PAIRS: Final = 4096


class Guided(ProposalSampler):
    """Expected improvement over every feasible network, or, in a space too large for that, over what a short
    evolution on the predictor finds.

    In a large space every other evolution is confined to a niche: one gene is held at an option that the best
    network does not have, mostly a gene that moves the costs much (resolution, depth). Under a tight limit
    such a gene cannot change alone, so no evolution from the best networks would ever try it. Once nothing better
    is found, half of the proposals trust the prediction without its uncertainty, on all pairs of changes of the best
    network: expected improvement prefers the uncertain and passes over what is nearly known to be better. And a
    search that has found nothing better for long begins again without its history, in which only the judged
    networks stay known: such spaces have many local optima.

    Hyper-parameters are learned anew whenever the history has grown by a quarter, from that history alone, so
    that a resumed search does the same.
    """

    _learned: tuple[tuple[int, int], Hyperparameters] | None = None

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        if len(history) < _START or not history.inside.any():
            return problem.random(1, rng, history.seen)
        first = self._beginning(history)
        history = history.since(first)
        if len(history) < _START:
            return problem.random(1, rng, history.seen)
        hyperparameters = self._hyperparameters(history, first)
        if problem.everything is not None:
            pool = problem.unseen(problem.everything, history.seen)
            return _most_improving(pool, self._predictor(history, hyperparameters, None))
        if waited(history)[-1] >= _STALLED and rng.random() < _TRUSTING_SHARE:
            predictor = self._predictor(history, hyperparameters, None)
            pool = problem.unseen(changed_twice(history.best_first()[0], problem, predictor), history.seen)
            return pool[np.argsort(-predictor.mean(pool), kind="stable")]
        niche = self._niche(history, problem, rng)
        predictor = self._predictor(history, hyperparameters, niche)
        pool = problem.unseen(_evolved(history, problem, niche, predictor, rng), history.seen)
        return _most_improving(pool, predictor)

    def learning_from(self, history: History) -> int:
        return len(history) - self._beginning(history)

    def _beginning(self, history: History) -> int:
        """A small space is ranked whole each time, so nothing is to be gained by beginning again."""
        return 0 if self.problem.everything is not None else beginning(history)

    def _hyperparameters(self, history: History, first: int) -> Hyperparameters:
        due = learning_point(len(history))
        if self._learned is None or self._learned[0] != (first, due):
            hyperparameters = learn_hyperparameters(self.encoder, history.codes[:due], history.scores[:due])
            self._learned = (first, due), hyperparameters
        return self._learned[1]

    def _predictor(self, history: History, hyperparameters: Hyperparameters, niche: Niche | None) -> Predictor:
        kept = worth_learning(history, niche)
        return Predictor(self.encoder, hyperparameters).fit(history.codes[kept], history.scores[kept])

    def _niche(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> Niche | None:
        if len(history) < _NICHES_FROM or rng.random() >= _NICHE_SHARE:
            return None
        gene = int(rng.choice(len(self._leverage), p=self._leverage))
        options = problem.space.cardinalities[gene]
        option = (int(history.best_first()[0][gene]) + int(rng.integers(1, options))) % options
        niche = Niche(problem, gene, option)
        return niche if len(niche.reservoir) > 1 else None

    @cached_property
    def _leverage(self) -> FloatArray:
        """Chance of each gene to define a niche: how far a change of it moves the log costs."""
        rows = self.problem.reservoir[:_LEVERAGE_ROWS]
        before = self.problem.costs.values(rows)
        rng = np.random.default_rng(0)
        moves = np.zeros(len(self.problem.space.cardinalities))
        for gene, options in enumerate(self.problem.space.cardinalities):
            if options > 1:
                changed = rows.copy()
                changed[:, [gene]] = mutate(changed[:, [gene]], (options,), rng, 1.0)
                after = self.problem.costs.values(self.problem.space.canonical(changed))
                moves[gene] = np.mean([np.abs(np.log(after[name] / before[name])).mean() for name in before])
        weights = moves if moves.any() else (np.array(self.problem.space.cardinalities) > 1).astype(np.float64)
        return np.asarray(weights / weights.sum())


def _most_improving(pool: CodeArray, predictor: Predictor) -> CodeArray:
    """The rows of highest mean, at most 1,024, in the order of their expected improvement."""
    if len(pool) > _UNSURE:
        pool = pool[np.argsort(-predictor.mean(pool), kind="stable")[:_UNSURE]]
    return pool[np.argsort(-predictor.expected_improvement(pool), kind="stable")] if len(pool) else pool


def _evolved(
    history: History, problem: FeasibleSpace, niche: Niche | None, predictor: Predictor, rng: np.random.Generator
) -> CodeArray:
    """Candidates from a short evolution that maximises the predicted target, in the niche if there is one."""
    best = history.best_first()
    where = problem if niche is None else niche
    fresh = where.reservoir[rng.integers(len(where.reservoir), size=_RANDOM_PARENTS)]
    if niche is None:
        starts = [best[:_PARENTS], fresh]
    else:
        moved = niche.repaired(np.repeat(best[: _PARENTS // 2], 2, axis=0), rng)
        starts = [best[niche.holds(best)][:_PARENTS], moved, fresh]
    return evolve(predictor.mean, where, rng, _GENERATIONS, _PARENTS, distinct(np.concatenate(starts))).codes


def changed_twice(centre: CodeArray, problem: FeasibleSpace, predictor: Predictor) -> CodeArray:
    """The feasible networks that differ from `centre` (genes,) in one gene, or in two of which the sum of the
    predicted gains is among the largest."""
    changed = neighbours(centre, problem.space.cardinalities)
    genes = np.argmax(changed != centre, axis=1)
    gains = predictor.mean(problem.space.canonical(changed))
    sums = np.where(genes[:, None] < genes, gains[:, None] + gains, -np.inf)
    first, second = np.unravel_index(np.argsort(-sums, axis=None, kind="stable")[:_PAIRS], sums.shape)
    pairs = changed[first]
    pairs[np.arange(len(pairs)), genes[second]] = changed[second, genes[second]]
    return problem.proper(np.concatenate([changed, pairs]), frozenset())[:_UNSURE]


def waited(history: History) -> NDArray[np.intp]:
    """At each judged network, how many were judged since the best until then, shape (judged,)."""
    place = np.arange(len(history))
    improved = np.r_[True, history.scores[1:] > np.maximum.accumulate(history.scores)[:-1]]
    return np.asarray(place - np.maximum.accumulate(np.where(improved, place, 0)))


def beginning(history: History) -> int:
    """Where the present run begins: a run ends once it found nothing better in a fifth of it, and in 200 networks."""
    first = 0
    while history.inside.all() and len(history) - first > _PATIENCE:
        waits = waited(history.since(first))
        ended = np.flatnonzero(waits >= np.maximum(_PATIENCE, _PATIENT_SHARE * (np.arange(len(waits)) + 1)))
        if not len(ended):
            break
        first += int(ended[0]) + 1
    return first


def learning_point(judged: int) -> int:
    """The largest of 5, 7, 9, 11, 13, 16, 20, … (a quarter more each time) that is at most `judged`."""
    point = _START
    while (after := point + max(2, point // 4)) <= judged:
        point = after
    return point


def worth_learning(history: History, niche: Niche | None) -> NDArray[np.intp]:
    """Indices (kept,) of the judged networks to condition on: all, or the best half, the newest, and the niche's
    best."""
    count = len(history)
    if count <= _LEARN_FROM:
        return np.arange(count)
    order = np.argsort(-history.scores, kind="stable")
    kept = [order[: _LEARN_FROM // 2], np.arange(count - _LEARN_FROM // 4, count)]
    if niche is not None:
        rest = order[_LEARN_FROM // 2 :]
        kept.append(rest[niche.holds(history.codes[rest])][: _LEARN_FROM // 4])
    return np.asarray(np.unique(np.concatenate(kept)))
