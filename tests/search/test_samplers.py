"""The contract that every search method passes, and what is particular to some of them."""

from functools import cache

import numpy as np
import optuna
import pytest

from pipeline.search.candidates import CodeArray, keys
from pipeline.search.pool import FeasibleSpace, SpaceExhaustedError
from pipeline.search.predictor import Predictor, learn_hyperparameters
from pipeline.search.samplers import SAMPLERS, History, ProposalSampler
from pipeline.search.samplers.evolution import rank_and_crowding
from pipeline.search.samplers.guided import Guided, beginning, changed_twice, learning_point, waited
from pipeline.search.samplers.local import neighbours
from pipeline.search.samplers.reinforce import Controller
from pipeline.search.samplers.weaknas import WeakPredictors
from pipeline.search.settings import METHODS, Method
from pipeline.spaces.codes import Codes
from tests.search.problems import LARGE, SMALL, costs_of, merit


@cache
def _problem(space: str) -> FeasibleSpace:
    costs = costs_of("40M", "small") if space == "small" else costs_of("200M", "large")
    return FeasibleSpace(Codes(SMALL if space == "small" else LARGE), costs, costs.ensure_reachable())


def _run(sampler: ProposalSampler, evaluations: int) -> tuple[CodeArray, list[float]]:
    problem = sampler.problem
    codes = np.empty((0, len(problem.space.cardinalities)), dtype=np.uint8)
    scores: list[float] = []
    for number in range(evaluations):
        row = sampler.next(_history(codes, scores), np.random.default_rng([0, number]))
        codes = np.concatenate([codes, row[None]])
        scores += merit(problem.space.decode(row[None]))
    return codes, scores


def _history(codes: CodeArray, scores: list[float]) -> History:
    return History(codes, np.array(scores), np.ones(len(codes), dtype=bool), frozenset(keys(codes)))


def test_the_methods_that_a_config_may_name_are_the_registered_ones() -> None:
    assert set(SAMPLERS) == set(METHODS)


@pytest.mark.parametrize("space", ["small", "large"])
@pytest.mark.parametrize("method", METHODS)
def test_proposals_are_canonical_feasible_new_and_decided_by_the_seed(method: Method, space: str) -> None:
    problem = _problem(space)
    codes, scores = _run(SAMPLERS[method](problem, seed=5), 24)
    assert (problem.space.canonical(codes) == codes).all()
    assert problem.costs.feasible(codes).all()
    assert len(set(keys(codes))) == len(codes)
    again, _ = _run(SAMPLERS[method](problem, seed=5), 24)
    assert (again == codes).all()
    # A sampler without memory of its own continues a history as the one that began it: searches resume.
    fresh = SAMPLERS[method](problem, seed=5)
    row = fresh.next(_history(codes[:23], scores[:23]), np.random.default_rng([0, 23]))
    assert (row == codes[23]).all()


@pytest.mark.parametrize("method", METHODS)
def test_another_seed_searches_elsewhere(method: Method) -> None:
    firsts = set()
    for seed in range(3):
        sampler = SAMPLERS[method](_problem("small"), seed=seed)
        trial = optuna.create_study(sampler=sampler).ask(sampler.packing.distributions)
        firsts.add(tuple(sorted(trial.params.items())))
    assert len(firsts) > 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_proposes_all_networks_and_then_says_that_none_is_left(method: Method) -> None:
    lightest = costs_of("40M")["macs"].minimum()[0]
    problem = FeasibleSpace(Codes(SMALL), costs_of("40M").with_limit("macs", lightest * 1.6))
    count = len(problem.everything if problem.everything is not None else [])
    assert 3 < count < 60
    sampler = SAMPLERS[method](problem, seed=1)
    codes, scores = _run(sampler, count)
    assert len(set(keys(codes))) == count
    with pytest.raises(SpaceExhaustedError):
        sampler.next(_history(codes, scores), np.random.default_rng(0))


@pytest.mark.parametrize("method", [method for method in METHODS if method != "random"])
def test_every_method_finds_more_than_chance_does(method: Method) -> None:
    problem = _problem("small")
    best = max(_run(SAMPLERS[method](problem, seed=2), 60)[1])
    assert problem.everything is not None
    all_scores = np.sort(merit(problem.space.decode(problem.everything)))[::-1]
    # 60 random networks have one among the best 1 % with probability 0.45; below 2.5 % nearly always.
    assert best >= all_scores[len(all_scores) // 40]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_serves_any_optuna_study(method: Method) -> None:
    problem = _problem("small")
    sampler = SAMPLERS[method](problem, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(12):
        trial = study.ask()
        row = sampler.packing.suggest(trial)
        study.tell(trial, merit(problem.space.decode(row[None]))[0])
    rows = [sampler.packing.unpack(trial.params) for trial in study.trials]
    assert len(set(keys(np.stack(rows)))) == 12


# -- REINFORCE ------------------------------------------------------------------------------------------


def test_the_policy_gradient_is_the_gradient_of_the_log_probability() -> None:
    controller = Controller((3, 2))
    controller.logits = np.array([[0.3, -0.2, 0.5], [0.1, -0.4, -np.inf]])
    row = np.array([2, 0], dtype=np.uint8)

    def log_probability(logits: np.ndarray) -> float:
        moved = Controller((3, 2))
        moved.logits = logits
        return float(np.log(moved.probabilities()[[0, 1], row]).sum())

    analytic = controller.gradient(row)
    for gene, option in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]:
        up, down = controller.logits.copy(), controller.logits.copy()
        up[gene, option] += 1e-6
        down[gene, option] -= 1e-6
        numeric = (log_probability(up) - log_probability(down)) / 2e-6
        assert analytic[gene, option] == pytest.approx(numeric, abs=1e-8)


def test_a_controller_learns_a_bandit_and_ignores_genes_that_do_not_exist() -> None:
    controller = Controller((3, 3))
    rng = np.random.default_rng(0)
    for _ in range(400):
        row = controller.draw(1, rng)[0]
        controller.update(row, np.array([True, False]), float(row[0] == 2))
    probabilities = controller.probabilities()
    assert probabilities[0, 2] > 0.95
    assert np.allclose(probabilities[1], 1 / 3)


def test_a_constant_reward_teaches_nothing() -> None:
    controller = Controller((4,))
    rng = np.random.default_rng(0)
    codes = controller.draw(200, rng)
    controller.replay(codes, np.ones(codes.shape, dtype=bool), np.full(200, 0.7))
    assert np.allclose(controller.probabilities(), 0.25, atol=0.02)


# -- WeakNAS ------------------------------------------------------------------------------------------


def test_weak_predictors_draw_in_their_top_and_leave_it_when_all_of_it_is_known() -> None:
    problem = _problem("small")
    codes, scores = _run(WeakPredictors(problem, seed=0), 20)
    judged = _history(codes, scores)
    sampler = WeakPredictors(problem, seed=0)
    rng = np.random.default_rng(0)
    top = set(keys(sampler.propose(judged, problem, rng)))
    assert 80 <= len(top) <= 100 and not top & judged.seen
    known = History(judged.codes, judged.scores, judged.inside, judged.seen | top)
    further = set(keys(sampler.propose(known, problem, rng)))
    assert 80 <= len(further) <= 100 and not further & known.seen

    def worth(found: set[bytes]) -> float:
        rows = np.array([np.frombuffer(key, dtype=np.uint8) for key in found])
        return float(np.mean(merit(problem.space.decode(rows))))

    assert problem.everything is not None
    assert worth(top) > worth(further) > worth(set(keys(problem.everything)))


# -- pieces -------------------------------------------------------------------------------------------


def test_ranks_and_crowding_of_a_known_front() -> None:
    values = np.array([[0.0, 3.0], [1.0, 1.0], [3.0, 0.0], [2.0, 2.0], [3.0, 3.0]])
    ranks, crowding = rank_and_crowding(values)
    assert ranks.tolist() == [0, 0, 0, 1, 2]
    assert np.isinf(crowding[[0, 2]]).all()
    assert crowding[1] == pytest.approx(2.0)


def test_neighbours_differ_in_one_gene() -> None:
    around = neighbours(np.array([0, 1], dtype=np.uint8), (2, 3))
    assert sorted(map(tuple, around.tolist())) == [(0, 0), (0, 2), (1, 1)]


def test_learning_points_do_not_depend_on_the_way_there() -> None:
    assert [learning_point(n) for n in (5, 6, 7, 8, 9, 12, 19)] == [5, 5, 7, 7, 9, 11, 16]


def test_a_run_ends_when_it_has_long_found_nothing_better() -> None:
    def first(scores: list[float]) -> int:
        codes = np.zeros((len(scores), 1), dtype=np.uint8)
        return beginning(_history(codes, scores))

    assert first(list(range(1000))) == 0  # it goes on improving
    assert first([1.0] + [0.0] * 199) == 0
    stuck = [float(n) for n in range(60)] + [0.0] * 200
    assert first(stuck) == 260  # the last improvement was number 59, 200 networks before number 259
    assert first(stuck + [0.5] * 100) == 260  # the next run is judged by its own scores
    assert first(stuck + [0.5] * 201) == 461


def test_what_waits_is_counted_from_the_best() -> None:
    codes = np.zeros((6, 1), dtype=np.uint8)
    assert waited(_history(codes, [1.0, 1.0, 2.0, 1.5, 2.0, 3.0])).tolist() == [0, 1, 0, 1, 2, 0]


def test_a_stalled_search_tries_the_pairs_of_changes_that_are_predicted_best() -> None:
    problem = _problem("large")
    codes = problem.random(80, np.random.default_rng(0))
    scores = np.array(merit(problem.space.decode(codes)))
    sampler = Guided(problem, 0)
    best = codes[np.argmax(scores)]
    predictor = Predictor(sampler.encoder, learn_hyperparameters(sampler.encoder, codes, scores)).fit(codes, scores)
    around = changed_twice(best, problem, predictor)
    assert problem.costs.feasible(around).all()
    by_chance = problem.proper(problem.mutants(np.tile(best, (4000, 1)), np.random.default_rng(0), 0.02), frozenset())
    true = np.array(merit(problem.space.decode(around[np.argsort(-predictor.mean(around))[:50]])))
    assert true.max() > scores.max()
    assert true.mean() > np.mean(merit(problem.space.decode(by_chance[:500])))
