"""The predictor and the bulk engine: gradients, what is learned, and that nothing is scored twice."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from pipeline.search.candidates import CodeArray, FloatArray, keys
from pipeline.search.encoding import Encoder, factors
from pipeline.search.engine import evolve
from pipeline.search.pool import FeasibleSpace
from pipeline.search.predictor import (
    Predictor,
    _column_distances,
    _Evidence,
    _group_distances,
    learn_hyperparameters,
    targets_of,
)
from pipeline.spaces.codes import Codes
from tests.search.problems import LARGE, SMALL, costs_of, merit


def _problem(space: str) -> FeasibleSpace:
    costs = costs_of("40M", "small") if space == "small" else costs_of("200M", "large")
    return FeasibleSpace(Codes(SMALL if space == "small" else LARGE), costs, costs.ensure_reachable())


def _score(problem: FeasibleSpace, codes: CodeArray) -> FloatArray:
    return np.array(merit(problem.space.decode(codes)))


def test_an_op_is_a_kernel_and_an_expand_ratio_unless_one_decides_the_other() -> None:
    kinds = {factor.kind for factor in factors(Codes(LARGE))}
    assert kinds == {"resolution", "depth", "kernel", "expand"}
    assert {factor.kind for factor in factors(Codes(SMALL))} == {"depth", "kernel"}


def test_the_gradient_of_the_evidence_is_its_gradient() -> None:
    problem = _problem("small")
    codes = problem.random(12, np.random.default_rng(0))
    encoder = Encoder(problem.space, problem.costs, problem.reservoir)
    choices = encoder.choices(codes)
    evidence = _Evidence(
        _group_distances(choices, encoder.group_of),
        _column_distances(encoder.traits(codes, choices)),
        targets_of(_score(problem, codes)),
    )
    point = evidence.prior_mean + np.random.default_rng(1).normal(0, 0.3, len(evidence.prior_mean))
    _, gradient = evidence(point)
    for place in range(len(point)):
        step = np.zeros(len(point))
        step[place] = 1e-6
        numeric = (evidence(point + step)[0] - evidence(point - step)[0]) / 2e-6
        assert gradient[place] == pytest.approx(numeric, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("space", ["small", "large"])
def test_the_predictor_ranks_networks_it_has_not_seen(space: str) -> None:
    problem = _problem(space)
    codes = problem.random(260, np.random.default_rng(0))
    known, unknown = codes[:60], codes[60:]
    encoder = Encoder(problem.space, problem.costs, problem.reservoir)
    hyperparameters = learn_hyperparameters(encoder, known, _score(problem, known))
    predictor = Predictor(encoder, hyperparameters).fit(known, _score(problem, known))
    mean, deviation = predictor.predict(unknown)
    assert spearmanr(mean, _score(problem, unknown)).statistic > 0.8
    _, at_known = predictor.predict(known)
    assert at_known.mean() < 0.5 * deviation.mean()  # it is surer of what it has seen


def test_targets_tell_the_best_apart_and_ignore_units() -> None:
    scores = np.array([10.0, 88.0, 90.0, 91.0, 91.4, 91.5])
    targets = targets_of(scores)
    assert (np.diff(targets) > 0).all()
    assert (targets[5] - targets[4]) / 0.1 > (targets[2] - targets[1]) / 2.0  # a point counts more near the top
    assert targets_of(scores / 100) == pytest.approx(targets, abs=1e-6)
    assert targets_of(np.full(4, 0.5)) == pytest.approx(np.zeros(4))


def test_the_engine_scores_nothing_twice_and_nothing_infeasible() -> None:
    problem = _problem("large")
    scored: list[bytes] = []

    def score(codes: CodeArray) -> FloatArray:
        assert problem.costs.feasible(codes).all()
        scored.extend(keys(codes))
        return _score(problem, codes)

    found = evolve(score, problem, np.random.default_rng(0), generations=12, population=40)
    assert len(scored) == len(set(scored)) == found.scored
    assert found.scores[0] == max(found.scores)
    random = _score(problem, problem.random(found.scored, np.random.default_rng(1)))
    assert found.scores[0] > random.max()


def test_the_engine_finds_the_optimum_of_a_small_space() -> None:
    problem = _problem("small")
    assert problem.everything is not None
    found = evolve(lambda codes: _score(problem, codes), problem, np.random.default_rng(0), 15, 20)
    assert found.scores[0] == pytest.approx(_score(problem, problem.everything).max())
