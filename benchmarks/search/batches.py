"""A search of an evaluator as cheap as a predictor: batches instead of trials."""

from typing import Final

import numpy as np

from pipeline.search.candidates import keys
from pipeline.search.engine import Found, ScoreFunction
from pipeline.search.samplers import History, ProposalSampler

_GROWTH: Final = 20  # a batch is a twentieth of what the sampler learns from
_BATCH_UP_TO: Final = 100


def propose_in_batches(sampler: ProposalSampler, score: ScoreFunction, evaluations: int, seed: int) -> Found:
    """Judge up to `evaluations` networks as `sampler` proposes them, several at a time once there are many.

    Returns all of them in the order of judging; fewer where the space has no more.
    """
    problem = sampler.problem
    codes = np.empty((0, len(problem.space.cardinalities)), dtype=np.uint8)
    scores = np.empty(0)
    while len(codes) < evaluations:
        history = History(codes, scores, np.ones(len(codes), dtype=bool), frozenset(keys(codes)))
        rng = np.random.default_rng([seed, 2, len(codes), 0])
        growing = sampler.learning_from(history) // _GROWTH
        wanted = min(max(1, min(_BATCH_UP_TO, growing)), evaluations - len(codes))
        born = problem.proper(sampler.propose(history, problem, rng), history.seen)[:wanted]
        if len(born) < wanted:
            more = problem.random(wanted, rng, history.seen | frozenset(keys(born)))
            born = np.concatenate([born, more])[:wanted]
        if not len(born):
            break
        codes, scores = np.concatenate([codes, born]), np.concatenate([scores, score(born)])
    return Found(codes, scores, len(codes))
