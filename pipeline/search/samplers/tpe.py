"""Tree-structured Parzen estimator on genes (Bergstra et al. 2011), ranking feasible candidates in bulk.

Optuna's own TPE draws one candidate set from its good density and may return infeasible or known ones; here
the same ratio of densities ranks thousands of feasible, unjudged networks.
"""

from typing import Final

import numpy as np

from pipeline.search.candidates import CodeArray, FloatArray
from pipeline.search.pool import FeasibleSpace
from pipeline.search.samplers.base import History, ProposalSampler

_START: Final = 10
_POOL: Final = 512


class TPE(ProposalSampler):
    """The network that maximises log l(x) - log g(x): l and g are mixtures of per-gene kernels over the best
    tenth (at most 25) and over the rest."""

    def propose(self, history: History, problem: FeasibleSpace, rng: np.random.Generator) -> CodeArray:
        if len(history) < _START or not history.inside.any():
            return problem.random(1, rng, history.seen)
        ranked = history.best_first()
        good_count = min(25, -(-len(ranked) // 10))
        good, rest = ranked[:good_count], ranked[good_count:]
        parents = good[rng.integers(len(good), size=_POOL)]
        pool = np.concatenate([problem.mutants(parents, rng, 0.1), problem.random(_POOL // 4, rng, history.seen)])
        pool = problem.proper(pool, history.seen)
        options = problem.space.cardinalities
        ratio = log_density(pool, good, options) - log_density(pool, rest, options)
        return pool[np.argsort(-ratio, kind="stable")]


def log_density(codes: CodeArray, centres: CodeArray, options: tuple[int, ...]) -> FloatArray:
    """Log density, shape (n,), of each row of `codes` (n, genes) under an equal mixture of Aitchison-Aitken kernels at
    `centres` (m, genes) and a uniform prior."""
    sizes = np.array(options, dtype=np.float64)
    spread = 1.0 / (1.0 + len(centres) / sizes)  # chance of leaving the centre's value, as Optuna's prior weight
    same = np.log(1 - spread + spread / sizes)
    other = np.log(np.where(sizes > 1, spread / sizes, 1.0))
    # The sum over genes of `same` where equal and `other` where not, as one product of one-hot rows.
    kept = other.sum() + (_one_hot(codes, options) * np.repeat(same - other, options)) @ _one_hot(centres, options).T
    prior = np.full((len(codes), 1), -np.log(sizes).sum())
    return np.asarray(np.logaddexp.reduce(np.concatenate([kept, prior], axis=1), axis=1) - np.log(len(centres) + 1))


def _one_hot(codes: CodeArray, options: tuple[int, ...]) -> FloatArray:
    return np.concatenate([codes[:, [gene]] == np.arange(count) for gene, count in enumerate(options)], axis=1).astype(
        np.float64
    )
