"""Searching a cheap evaluator in bulk: evolution and local search on arrays, nothing scored twice.

An accuracy predictor scores tens of thousands of networks a second; one study trial each would cost more than
the score. The engine finds the best ones, and only those enter a study.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.progress import Progress
from pipeline.search.candidates import CodeArray, FloatArray, distinct, keys
from pipeline.search.pool import FeasibleSpace

ScoreFunction = Callable[[CodeArray], FloatArray]

_MUTATION_RATES: Final = (0.02, 0.06, 0.12)
_CROSSED: Final = 0.3


@dataclass(frozen=True, slots=True)
class Found:
    """Scored networks, best first: codes (n, genes), scores (n,). `scored` counts distinct networks."""

    codes: CodeArray
    scores: FloatArray
    scored: int


def evolve(
    score: ScoreFunction,
    problem: FeasibleSpace,
    rng: np.random.Generator,
    generations: int,
    population: int,
    start: CodeArray | None = None,
    progress: Progress | None = None,
) -> Found:
    """Maximise `score` over feasible networks, from the rows of `start` (n, genes) or from random ones.

    Each generation breeds eight times `population` candidates from the best `population`, drops infeasible
    ones and those scored before, and scores the rest.
    """
    found = problem.random(2 * population, rng) if start is None else problem.proper(start, frozenset())
    seen = set(keys(found))
    value = np.asarray(score(found))
    scored = len(found)
    for generation in range(generations):
        order = np.argsort(-value, kind="stable")[: 4 * population]
        found, value = found[order], value[order]
        born = problem.proper(offspring(found[:population], 8 * population, problem, rng), seen)
        if len(born):
            seen.update(keys(born))
            scored += len(born)
            found = np.concatenate([found, born])
            value = np.concatenate([value, score(born)])
        if progress is not None:
            progress(generation + 1, generations, "generations")
    order = np.argsort(-value, kind="stable")
    return Found(found[order], value[order], scored)


def offspring(parents: CodeArray, count: int, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
    """Uniform crossovers (3 in 10) and mutants of one gene to an eighth of all, of random `parents` (n, genes): up to
    (count, genes)."""
    one = parents[rng.integers(len(parents), size=count)]
    crossed = int(_CROSSED * count)
    other = parents[rng.integers(len(parents), size=crossed)]
    parts = [np.where(rng.random(other.shape) < 0.5, one[:crossed], other)]
    rates = zip(np.array_split(one[crossed:], len(_MUTATION_RATES)), _MUTATION_RATES, strict=True)
    parts += [problem.mutants(part, rng, rate) for part, rate in rates]
    return distinct(problem.space.canonical(np.concatenate(parts)))
