"""A relaxation with hard gates is the network itself: what it computes and what it costs."""

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from latency_tables.blocks import Block
from pipeline.relax.chains import Chains, chain_weights
from pipeline.relax.cost import ExpectedCost
from pipeline.relax.gates import hard_gates, most_probable
from pipeline.relax.importance import Importances
from pipeline.relax.logits import OptionLogits
from pipeline.relax.network import Relaxation
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.supernet import Sharing, Supernet


@pytest.fixture(scope="module", params=["tiny", "squeezed", "nas-bench-macro", "quickstart"])
def space(request: pytest.FixtureRequest, tiny_space: SearchSpace, squeezed_space: SearchSpace) -> SearchSpace:
    own = {"tiny": tiny_space, "squeezed": squeezed_space}
    return own.get(request.param) or load_space(request.param)


def _lively(supernet: Supernet) -> Supernet:
    """Transforms, biases and BatchNorm weights that are not what they begin as, so that a mistake shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.dim() <= 2:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return supernet


@pytest.mark.parametrize("sharing", ["nested", "separate"])
def test_hard_gates_compute_what_the_supernet_does(space: SearchSpace, sharing: Sharing) -> None:
    supernet = _lively(Supernet(space, sharing)).train()
    relaxation, rng = Relaxation(supernet), random.Random(0)
    for number in range(12):
        arch = space.max() if not number else space.min() if number == 1 else space.sample_genes(rng)
        x = torch.randn(4, 3, arch.resolution, arch.resolution).contiguous(memory_format=torch.channels_last)
        supernet.activate(arch)
        expected = supernet(x)
        torch.testing.assert_close(relaxation(x, hard_gates(space, arch)), expected, rtol=1e-4, atol=1e-5)


def test_padding_as_tensorflow_has_it_is_kept() -> None:
    space = load_space("efficientnet-b0").with_resolutions([32, 33])
    same = [replace(stage, padding="same") for stage in space.stages]
    space = replace(space, stem=replace(space.stem, padding="same"), stages=tuple(same))
    supernet = Supernet(space).double().train()
    relaxation, rng = Relaxation(supernet), random.Random(3)
    for _ in range(2):
        arch = space.sample_genes(rng)
        x = torch.randn(4, 3, arch.resolution, arch.resolution, dtype=torch.float64)
        supernet.activate(arch)
        torch.testing.assert_close(relaxation(x, hard_gates(space, arch)), supernet(x))


def test_hard_gates_cost_exactly_the_sum_of_the_table(space: SearchSpace) -> None:
    cost, rng = AdditiveCost(space, _interacting, fixed=0.7), random.Random(0)
    expected = ExpectedCost(cost)
    for _ in range(50):
        arch = space.sample(rng)
        assert float(expected(hard_gates(space, arch))) == pytest.approx(cost.of(arch), rel=1e-12)


def _interacting(block: Block) -> float:
    """Milliseconds that are no product of a kernel's and a ratio's share."""
    return 0.1 + (block.macs % 9973) / 1000 + 0.3 * (block.kernel == 5) * (block.mid_channels > 40)


@pytest.mark.parametrize("kind", ["logits", "steps"])
def test_the_gradient_of_the_expected_cost_is_that_of_finite_differences(space: SearchSpace, kind: str) -> None:
    expected = ExpectedCost(AdditiveCost(space, _interacting))
    chains, options = Chains(space), OptionLogits(space).double()
    values: Tensor = torch.zeros(len(chains.steps), dtype=torch.float64) if kind == "steps" else options.logits
    with torch.no_grad():
        values.uniform_(0.1, 0.9, generator=torch.Generator().manual_seed(2))
    values.requires_grad_()

    def cost() -> Tensor:
        return expected(chains.gates(values) if kind == "steps" else options.gates())

    (gradient,) = torch.autograd.grad(cost(), values)
    for place in range(len(values)):
        with torch.no_grad():
            values[place] += 1e-5
            above = cost()
            values[place] -= 2e-5
            below = cost()
            values[place] += 1e-5
        assert float(gradient[place]) == pytest.approx(float(above - below) / 2e-5, abs=1e-6, rel=1e-5)


def test_steps_of_ones_are_the_largest_network_and_of_zeros_the_smallest(space: SearchSpace) -> None:
    chains = Chains(space)
    assert most_probable(space, chains.gates(torch.ones(len(chains.steps)))) == space.max()
    assert most_probable(space, chains.gates(torch.zeros(len(chains.steps)))) == space.min()


def test_every_corner_of_kernel_and_ratio_costs_its_own_entry(tiny_space: SearchSpace) -> None:
    """The published formula R_e3 + d6 (R_e6 - R_e3) times a ratio of kernels is exact only where the two do not
    interact; here each corner is the table's own entry."""
    chains, cost = Chains(tiny_space), AdditiveCost(tiny_space, _interacting)
    expected, rng = ExpectedCost(cost), random.Random(1)
    for _ in range(20):
        values = torch.tensor([float(rng.random() < 0.6) for _ in chains.steps])
        gates = chains.gates(values)
        assert float(expected(gates)) == pytest.approx(cost.of(most_probable(tiny_space, gates)), rel=1e-12)


def test_chain_weights_are_a_distribution() -> None:
    assert chain_weights(torch.tensor([0.5, 0.5])).tolist() == [0.5, 0.25, 0.25]
    assert chain_weights(torch.tensor([0.0, 1.0])).tolist() == [1.0, 0.0, 0.0]
    assert chain_weights(torch.zeros(0)).tolist() == [1.0]


def test_networks_survive_the_round_trip_through_gates(space: SearchSpace) -> None:
    rng = random.Random(4)
    for _ in range(50):
        arch = space.sample_genes(rng)
        assert most_probable(space, hard_gates(space, arch)) == arch


def test_an_importance_is_the_size_of_what_a_step_adds(tiny_space: SearchSpace) -> None:
    supernet, chains = Supernet(tiny_space), Chains(tiny_space)
    importances = Importances(chains, supernet)
    before = importances().detach()
    (place,) = (n for n, s in enumerate(chains.steps) if str(s) == "stage2.layer2.kernel k3e1 to k5e1")
    weight = supernet.shared("stage2_layer2").weights.get_parameter("depthwise.weight")
    with torch.no_grad():
        ring = torch.zeros_like(weight)
        ring[:, :, 1:-1, 1:-1], ring[:, :, 2:-2, 2:-2] = 1.0, 0.0
        weight.mul_(1 + ring)
    after = importances().detach()
    assert float(after[place]) == pytest.approx(2 * float(before[place]), rel=1e-5)


def test_squeeze_and_excitation_is_a_step_with_its_ratio_behind_it(squeezed_space: SearchSpace) -> None:
    """As in Single-Path NAS's second version; what the steps add are the hidden channels' weights."""
    supernet, chains = Supernet(squeezed_space), Chains(squeezed_space)
    names = [str(step) for step in chains.steps if step.kind == "squeeze" and step.layer == 2]
    assert names == ["stage1.layer2.squeeze k3e1 to k3e1s0.25", "stage1.layer2.squeeze k3e1s0.25 to k3e1s0.5"]
    first, second = (n for n, s in enumerate(chains.steps) if s.kind == "squeeze" and s.layer == 2)
    assert chains.steps[second].parent == first
    importances = Importances(chains, supernet)
    before = importances().detach()
    weights = supernet.shared("stage1_layer2").weights
    with torch.no_grad():
        weights.get_parameter("squeeze.reduce.weight")[8:16] *= 3
        weights.get_parameter("squeeze.expand.weight")[:, 8:16] *= 3
    after = importances().detach()
    assert float(after[second]) == pytest.approx(3 * float(before[second]), rel=1e-5)
    others = torch.arange(len(before)) != second
    torch.testing.assert_close(after[others], before[others])


def test_a_squeeze_gate_has_a_gradient_on_either_side(squeezed_space: SearchSpace) -> None:
    supernet, chains = Supernet(squeezed_space).train(), Chains(squeezed_space)
    place = next(n for n, step in enumerate(chains.steps) if step.kind == "squeeze")
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for taken in (0.0, 1.0):
        values = torch.ones(len(chains.steps)).index_fill(0, torch.tensor(place), taken).requires_grad_()
        (slope,) = torch.autograd.grad(Relaxation(supernet)(x, chains.gates(values)).square().sum(), values)
        assert float(slope[place]) != 0
