"""Scores of untrained networks: known answers of their parts, and what they say of blocks of every kind."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.ranking.zero_cost import (
    activations,
    assembled,
    az_nas,
    correlation,
    gradient_norm,
    isometry,
    jacobian_norm,
    naswot,
    response_correlation,
    spectral_entropy,
)
from latency_tables.blocks import Activation, Block, total_macs
from pipeline.supernets.network import Network

N, PIXELS = 8, 8


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def blocks(width: int = 16, depth: int = 2, activation: Activation = "relu", squeeze: int = 0) -> tuple[Block, ...]:
    """An odd size before a stride, residuals, a hidden layer: everything that a network can have."""
    middle = [
        Block("mbconv", PIXELS // 2, width, width, 3, 1, 2 * width, squeeze, activation, True) for _ in range(depth)
    ]
    return (
        Block("conv", PIXELS, 3, width, 3, 2, activation=activation, padding="same"),
        *middle,
        Block("mbconv", PIXELS // 2, width, 12, 5, 2, width, squeeze, activation),
        Block("conv", PIXELS // 4, 12, 24, activation=activation),
        Block("pool", PIXELS // 4, 24, 24),
        Block("linear", 1, 24, 20, activation=activation),
        Block("linear", 1, 20, 10),
    )


IMAGES, LABELS = noise(N, 3, PIXELS, PIXELS), torch.arange(N)


def test_white_features_have_the_entropy_of_their_channels_and_a_line_has_none() -> None:
    white = torch.cat([torch.eye(5), -torch.eye(5)])[:, :, None, None]
    assert spectral_entropy(3 * white) == pytest.approx(math.log(5), abs=1e-6)
    line = noise(20, 1, 2, 2) * torch.tensor([1.0, -2.0, 3.0])[:, None, None]
    assert spectral_entropy(line) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("channels", [3, 40])
def test_entropy_is_that_of_the_covariance_for_few_and_for_many_channels(channels: int) -> None:
    features = noise(5, channels, 2, 2) * torch.arange(1, channels + 1)[:, None, None]
    rows = features.permute(0, 2, 3, 1).reshape(-1, channels).double().numpy()
    shares = np.linalg.eigvalsh(np.cov(rows.T, bias=True)).clip(0)
    shares = shares[shares > 1e-12 * shares.max()] / shares.sum()
    assert spectral_entropy(features) == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-5)


def test_trainability_is_best_at_a_norm_of_one() -> None:
    scores = [isometry(norm) for norm in (0.01, 0.3, 1.0, 2.0, 30.0)]
    assert scores[2] == pytest.approx(0, abs=1e-5)
    assert scores[0] < scores[1] < scores[2] > scores[3] > scores[4]
    assert isometry(0.0) < -1e5


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (2, 2)])
def test_the_jacobian_norm_of_a_matrix_is_its_spectral_norm(kernel: int, stride: int) -> None:
    layer = nn.Conv2d(3, 4, kernel, stride, bias=False)
    with torch.no_grad():
        layer.weight.copy_(noise(4, 3, kernel, kernel))
    outputs, norm = jacobian_norm(layer, noise(64, 3, 16, 16), torch.Generator().manual_seed(0))
    assert outputs.shape == (64, 4, 16 // stride, 16 // stride)
    assert not outputs.requires_grad
    exact = float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
    assert norm == pytest.approx(exact, rel=0.05)


def test_a_stride_that_leaves_a_rest_loses_no_gradient() -> None:
    layer = nn.Conv2d(1, 1, 1, 2, bias=False)
    with torch.no_grad():
        layer.weight.fill_(3.0)
    outputs, norm = jacobian_norm(layer, noise(50, 1, 3, 3), torch.Generator().manual_seed(0))
    assert outputs.shape[-1] == 2
    assert norm == pytest.approx(3)


def test_correlation_of_like_unlike_and_constant_responses() -> None:
    row = noise(1, 6)
    alike = correlation(torch.cat([row, 2 * row + 1, -row]))
    assert alike is not None
    assert alike.abs().numpy() == pytest.approx(np.ones((3, 3)))
    rows = noise(4, 30)
    assert correlation(rows.view(4, 5, 6, 1)).numpy() == pytest.approx(np.corrcoef(rows.double().numpy()))  # type: ignore[union-attr]
    assert correlation(torch.tensor([[1.0, 2.0], [5.0, 5.0]])) is None


def test_equal_images_correlate_wholly_and_no_images_less_than_not_at_all() -> None:
    network = Network(blocks())
    equal, none = IMAGES[:1].expand(N, -1, -1, -1), torch.zeros(N, dtype=torch.int64)
    different = response_correlation(network, IMAGES, LABELS)
    assert response_correlation(network, equal, none) < different - 50
    # Hadamard: the determinant is at most the product of the diagonal, twice the weight of every nonlinearity.
    most = sum(2 * 2.0**place * len(activations(block)) for place, block in enumerate(network))
    assert different < N * math.log(most)
    assert naswot(network, IMAGES) > naswot(network, equal)


def test_later_blocks_weigh_twice_as_much() -> None:
    found = [response_correlation(Network(blocks(depth=depth)), IMAGES, LABELS) for depth in (1, 2, 3)]
    for before, after in pairwise(found):
        assert after - before == pytest.approx(N * math.log(2), rel=0.2)


def test_deeper_and_wider_networks_express_more() -> None:
    for sizes in ([(16, 1), (16, 2), (16, 4)], [(8, 2), (16, 2), (32, 2)]):
        found = [az_nas(Network(blocks(width, depth)), 0, N).expressivity for width, depth in sizes]
        assert found[0] < found[1] < found[2]


@pytest.mark.parametrize(("activation", "squeeze"), [("relu", 0), ("relu6", 4), ("hswish", 4), ("silu", 4)])
def test_every_kind_of_block_has_every_score_and_stays_as_it_is(activation: Activation, squeeze: int) -> None:
    network = Network(blocks(activation=activation, squeeze=squeeze)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    # Stem, three mbconvs of two each (one does not expand) and of one inside their squeezes, head, hidden layer.
    assert len(activations(network)) == 8 + (3 if squeeze else 0)
    scores = az_nas(network, 0, N)
    assert scores == az_nas(network, 0, N)
    assert scores != az_nas(network, 1, N)
    assert scores.complexity == total_macs(network.blocks)
    assert 0 < scores.expressivity < sum(math.log(block.out_channels) for block in network.blocks[:-3])
    assert scores.trainability < 0
    measures: tuple[Callable[[Network, Tensor, Tensor], float], ...] = (
        response_correlation,
        gradient_norm,
        lambda network, images, _: naswot(network, images),
    )
    for measure in measures:
        assert math.isfinite(measure(network, IMAGES, LABELS))
        assert measure(network, IMAGES, LABELS) == measure(network, IMAGES, LABELS)
    assert not network.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_the_gradient_norm_of_a_classifier() -> None:
    network = Network((Block("pool", 4, 3, 3), Block("linear", 1, 3, 2)))
    nn.init.zeros_(network[1].linear.weight)  # type: ignore[union-attr,arg-type]
    images = torch.stack([torch.full((4, 4), value) for value in (1.0, 2.0, 3.0)])[None]
    # Half of the chance is where it should not be: the error is (-1/2, 1/2), times the inputs and the bias's 1.
    assert gradient_norm(network, images, torch.tensor([0])) == pytest.approx(math.sqrt(0.5 * (1 + 4 + 9 + 1)))


def test_ranks_are_assembled_over_the_networks_that_are_ranked() -> None:
    scores = np.array([[1.0, 10, 0, 0], [2, 20, 0, 0], [2, 5, 0, 0], [-1, -math.inf, 0, 0]])
    ranks = np.array([[2, 3, 2.5, 2.5], [3.5, 4, 2.5, 2.5], [3.5, 2, 2.5, 2.5], [1, 1, 2.5, 2.5]])
    assert assembled(scores) == pytest.approx(np.log(ranks / 4).sum(1))
    # Good by all four is better than best by three and worst by one.
    even = np.array([[4.0, 1, 4, 4], [3, 3, 3, 3], [2, 2, 2, 2], [1, 4, 1, 1]])
    assert assembled(even).argmax() == 1
