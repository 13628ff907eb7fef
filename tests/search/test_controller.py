"""Known answers of the recurrent controller: a bandit, its gradient, a constant reward, the clipped objective."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pipeline.search.candidates import CodeArray
from pipeline.search.pool import FeasibleSpace
from pipeline.search.samplers.controller import RecurrentController, clipped_gain
from pipeline.search.samplers.zoph import MnasNet, standardised
from pipeline.spaces.codes import Codes
from tests.search.problems import SMALL, costs_of


def _all(rows: CodeArray) -> NDArray[np.bool_]:
    return np.ones(rows.shape, dtype=bool)


@pytest.mark.parametrize("rule", ["reinforce", "clipped"])
def test_a_controller_learns_a_bandit_in_a_few_hundred_updates(rule: str) -> None:
    """Reward: how many of the genes have their last option, as METHODS' count of kernels of 7."""
    controller, rng = RecurrentController((3, 2, 3), seed=0), np.random.default_rng(0)
    update = getattr(controller, rule)
    for _ in range(150):
        rows = controller.draw(20, _all, rng)
        rewards = (rows == np.array([2, 1, 2])).sum(1).astype(np.float64)
        update(rows, _all(rows), torch.from_numpy(rewards - rewards.mean()).float())
    best = np.array([[2, 1, 2]], dtype=np.uint8)
    assert float(controller.log_probability(best, _all(best))[0].exp().detach()) > 0.9


def test_probabilities_of_all_rows_sum_to_one_and_draws_follow_them() -> None:
    controller, rng = RecurrentController((3, 2), seed=1), np.random.default_rng(0)
    with torch.no_grad():
        for parameter in controller.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)), alpha=0.3)
    rows = np.array([[a, b] for a in range(3) for b in range(2)], dtype=np.uint8)
    chances = controller.log_probability(rows, _all(rows))[0].exp().detach().numpy()
    assert chances.sum() == pytest.approx(1.0, abs=1e-5)
    drawn = controller.draw(4000, _all, rng)
    shares = np.array([(drawn == row).all(1).mean() for row in rows])
    assert np.abs(shares - chances).max() < 0.03


def test_the_gradient_of_a_log_probability_is_that_of_finite_differences() -> None:
    controller = RecurrentController((3, 2), seed=1).double()
    row = np.array([[2, 0]], dtype=np.uint8)
    head = controller.heads[1].get_parameter("bias")
    (gradient,) = torch.autograd.grad(controller.log_probability(row, _all(row))[0].sum(), head)
    for option in range(2):
        values = []
        for side in (1e-5, -2e-5):
            with torch.no_grad():
                head[option] += side
                values.append(float(controller.log_probability(row, _all(row))[0]))
        with torch.no_grad():
            head[option] += 1e-5
        assert float(gradient[option]) == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-6)


def test_genes_that_a_network_lacks_have_no_probability_and_no_gradient() -> None:
    controller = RecurrentController((2, 3), seed=0)
    row, active = np.array([[1, 0]], dtype=np.uint8), np.array([[True, False]])
    logs, _ = controller.log_probability(row, active)
    assert float(logs) == pytest.approx(np.log(0.5))
    logs.sum().backward()  # type: ignore[no-untyped-call]
    head = controller.heads[1].get_parameter("bias")
    assert head.grad is None or not head.grad.any()


def test_a_constant_reward_teaches_nothing() -> None:
    assert np.abs(standardised(np.full(50, 0.7))).max() < 1e-3
    controller, rng = RecurrentController((4,), seed=0), np.random.default_rng(0)
    for _ in range(30):
        rows = controller.draw(20, _all, rng)
        controller.reinforce(rows, _all(rows), torch.zeros(20))
    rows = np.arange(4, dtype=np.uint8)[:, None]
    assert np.allclose(controller.log_probability(rows, _all(rows))[0].exp().detach(), 0.25, atol=0.02)


def test_the_clipped_gain_stops_where_a_chance_has_moved_by_a_fifth() -> None:
    ratio = torch.tensor([0.5, 1.0, 1.5, 0.5, 1.5])
    gain = clipped_gain(ratio, torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0]))
    torch.testing.assert_close(gain, torch.tensor([0.5, 1.0, 1.2, -0.8, -1.5]))


def test_half_the_latency_is_worth_five_percent_of_the_accuracy() -> None:
    costs = costs_of("40M")
    problem = FeasibleSpace(Codes(SMALL), costs)
    rows = problem.random(2, np.random.default_rng(0))
    macs = costs["macs"].of(rows)
    sampler = MnasNet(problem, seed=0)
    expected = np.array([0.8, 0.8]) * (macs / 40e6) ** -0.07
    assert sampler.rewards(rows, np.array([0.8, 0.8])) == pytest.approx(expected)
    assert sampler.rewards(rows, np.log([0.8, 0.8])) == pytest.approx(np.log(expected))
    assert pytest.approx(1.05, abs=0.001) == 0.5**-0.07
