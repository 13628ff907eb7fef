"""Known answers of the second-order gradient and of sparse Bayesian learning."""

import pytest
import torch
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.relax.hypergradient import hypergradient
from pipeline.relax.sparse import gauss_newton_diagonal, reweighted


def test_the_hypergradient_of_a_quadratic_problem_is_its_closed_form() -> None:
    """training = |w - A a|^2 / 2, validation = |w - b|^2 / 2 + c a: with w' = w - lr (w - A a), lr A' (w' - b) + c."""
    generator = torch.Generator().manual_seed(0)
    matrix, target, price = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in [(5, 3), (5,), (3,)]
    )
    weights = torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True)
    gates = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
    lr = 0.3
    before = weights.detach().clone()
    (found,) = hypergradient(
        [weights],
        [gates],
        lambda: (weights - matrix @ gates).square().sum() / 2,
        lambda: (weights - target).square().sum() / 2 + price @ gates,
        lr,
    )
    moved = before - lr * (before - matrix @ gates.detach())
    torch.testing.assert_close(found, lr * matrix.T @ (moved - target) + price)
    assert torch.equal(weights, before)


def test_without_a_step_the_second_order_is_the_first() -> None:
    weights, gates = torch.ones(2, requires_grad=True), torch.full((2,), 0.5, requires_grad=True)

    def loss() -> Tensor:
        return (weights * gates).square().sum()

    (found,) = hypergradient([weights], [gates], loss, loss, lr=0.0)
    torch.testing.assert_close(found, 2 * gates.detach())


def _two_layers(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Logits (200, 3) of a linear network with a switch on each of its 4 hidden units, and the switches."""
    x = torch.randn(200, 6, generator=generator)
    first, second = torch.randn(6, 4, generator=generator), torch.randn(4, 3, generator=generator)
    switches = torch.tensor([1.0, 0.5, 0.1, 0.0], requires_grad=True)
    return (x @ first * switches) @ second, switches


def test_the_gauss_newton_diagonal_is_the_hessian_where_logits_are_linear_in_the_switches() -> None:
    """Cross-entropy's second derivative has no part in the labels there, so autograd's Hessian is the answer."""
    logits, switches = _two_layers(torch.Generator().manual_seed(1))
    estimated = gauss_newton_diagonal(logits, switches, torch.Generator().manual_seed(2), draws=1500)
    exact = []
    labels = torch.zeros(len(logits), dtype=torch.long)
    (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels), switches, create_graph=True)
    for place in range(len(switches)):
        exact.append(torch.autograd.grad(slope[place], switches, retain_graph=True)[0][place])
    torch.testing.assert_close(estimated, torch.stack(exact), rtol=0.15, atol=1e-3)


@pytest.mark.parametrize("parent", [None, 0])
def test_a_linear_regression_is_shrunk_as_automatic_relevance_determination_has_it(parent: int | None) -> None:
    """Orthonormal inputs, noise variance v: gamma = max(0, s^2 - v) for the least-squares s (type-II likelihood)."""
    least_squares, noise = torch.tensor([3.0, 1.0, 0.4, 0.05]).double(), 0.25
    curvature, gamma = torch.full_like(least_squares, 1 / noise), torch.ones_like(least_squares)
    switches = least_squares.clone()
    omega = torch.ones_like(gamma)
    for _ in range(200):
        switches = least_squares.sign() * (least_squares.abs() - noise * omega).clamp(min=0)
        gamma, omega = reweighted(switches, curvature, gamma, [None, parent, None, None])
    expected = (least_squares.square() - noise).clamp(min=0)
    if parent is None:
        torch.testing.assert_close(gamma, expected, rtol=1e-3, atol=1e-6)
    else:
        assert 0 < gamma[1] < expected[1]  # a child is no likelier than its parent allows
        torch.testing.assert_close(gamma[[0, 2, 3]], expected[[0, 2, 3]], rtol=1e-3, atol=1e-6)


def test_a_dead_parent_kills_what_depends_on_it() -> None:
    switches = torch.tensor([0.0, 1.0, 1.0, 1.0])
    gamma, _ = reweighted(switches, torch.ones(4), torch.ones(4), [None, 0, 1, None])
    assert (gamma[:3] < 1e-4).all() and gamma[3] > 0.5
    with pytest.raises(PipelineError, match="after the one that it depends on"):
        reweighted(switches, torch.ones(4), torch.ones(4), [1, None, None, None])


def test_a_group_lives_by_the_norm_of_all_its_members() -> None:
    one, _ = reweighted(torch.tensor([[0.6, 0.8]]), torch.ones(1), torch.ones(1), [None])
    alone, _ = reweighted(torch.tensor([1.0]), torch.ones(1), torch.ones(1), [None])
    assert float(one) == pytest.approx(float(alone) / 2**0.5)
