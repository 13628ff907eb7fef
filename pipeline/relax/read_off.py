"""From learned gates to networks inside the limits."""

import numpy as np

from pipeline.errors import InfeasibleBudget
from pipeline.relax.gates import Gates, most_probable, preference
from pipeline.search.candidates import CodeArray, distinct
from pipeline.search.engine import evolve
from pipeline.search.pool import FeasibleSpace
from pipeline.search.samplers.local import neighbours
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.spaces.space import SearchSpace

_GENERATIONS = 30
_POPULATION = 64


def feasible_networks(
    space: SearchSpace, gates: Gates, feasible: FeasibleSpace, count: int, seed: int
) -> list[Architecture]:
    """Up to `count` networks inside all limits, those of the largest weight under `gates` first.

    The first is the most probable network itself where it fits, else the nearest one that does. Raises
    InfeasibleBudget where nothing is inside the limits.
    """
    codes = Codes(space)

    def score(rows: CodeArray) -> np.ndarray:
        return preference(space, gates, rows)

    rng = np.random.default_rng([seed, 5])
    if feasible.everything is not None:
        found = feasible.everything[np.argsort(-score(feasible.everything), kind="stable")]
    else:
        start = _made_feasible(codes.encode([most_probable(space, gates)]), score, feasible)
        start = distinct(np.concatenate([start, feasible.random(2 * _POPULATION, rng)]))
        found = evolve(score, feasible, rng, _GENERATIONS, _POPULATION, start).codes
    if not len(found):
        raise InfeasibleBudget("no network inside all limits was found to read the relaxation off as")
    return codes.decode(found[:count])


def _made_feasible(row: CodeArray, score, feasible: FeasibleSpace) -> CodeArray:  # type: ignore[no-untyped-def]
    """`row` (1, genes) changed one gene at a time until it fits, each time by the change that loses least weight for
    what it saves; no row where no single change saves anything."""
    for _ in range(4 * row.shape[1]):
        worst = float(feasible.costs.worst_violation(row)[0])
        if worst <= 0:
            return row
        moves = feasible.space.canonical(neighbours(row[0], feasible.space.cardinalities))
        saved = worst - np.maximum(feasible.costs.worst_violation(moves), 0.0)
        if saved.max() <= 0:
            break
        lost = np.maximum(score(row)[0] - score(moves), 1e-9)
        best = int(np.argmax(np.where(saved > 0, saved / lost, -np.inf)))
        row = moves[best : best + 1]
    return row[:0]
