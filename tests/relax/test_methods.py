"""The contract of methods that relax the space, and what is particular to each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import InfeasibleBudget, PipelineError
from pipeline.progress import Progress
from pipeline.relax.gates import hard_gates, most_probable
from pipeline.relax.limits import Limits
from pipeline.relax.logits import OptionLogits
from pipeline.relax.methods import METHODS, bayesnas
from pipeline.relax.methods.bayesnas import BayesNAS
from pipeline.relax.methods.darts_pt import DartsPT
from pipeline.relax.methods.single_path import indicators
from pipeline.relax.read_off import feasible_networks
from pipeline.relax.settings import RelaxSettings
from pipeline.relax.training import RelaxTraining, relax
from pipeline.search.pool import FeasibleSpace
from pipeline.search.settings import RELAXING, Relaxing
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.supernets.supernet import Supernet
from tests.relax.planted import PLANTED, SPACE, SQUEEZED, SQUEEZED_SPACE, Planted, planted
from tests.search.problems import LARGE, costs_of


def test_the_methods_that_a_config_may_name_are_the_registered_ones() -> None:
    assert set(METHODS) == set(RELAXING)


@pytest.mark.parametrize("method", RELAXING)
def test_every_method_finds_the_planted_network_under_a_limit_that_forbids_the_largest(method: Relaxing) -> None:
    problem = planted(seed=1)
    codes = Codes(SPACE)
    assert not problem.costs.feasible(codes.encode([SPACE.max()]))[0]
    # Weights stay as they were planted; it is the gates that have to find them.
    found = relax(problem.supernet, problem.data, problem.costs, RelaxSettings(method, epochs=12, lr=0.0, seed=1))
    archs = feasible_networks(SPACE, found.gates, FeasibleSpace(codes, problem.costs), 5, seed=0)
    assert archs[0] == PLANTED
    assert len(set(archs)) == 5 and problem.costs.feasible(codes.encode(archs)).all()


@pytest.mark.parametrize("method", ["single-path", "darts", "bayesnas"])
def test_methods_find_the_layers_that_a_planted_network_squeezes_and_excites(method: Relaxing) -> None:
    problem = planted(seed=1, arch=SQUEEZED, space=SQUEEZED_SPACE)
    found = relax(problem.supernet, problem.data, problem.costs, RelaxSettings(method, epochs=12, lr=0.0, seed=1))
    space = FeasibleSpace(Codes(SQUEEZED_SPACE), problem.costs)
    assert feasible_networks(SQUEEZED_SPACE, found.gates, space, 1, seed=0) == [SQUEEZED]


@pytest.mark.parametrize("method", RELAXING)
def test_a_killed_relaxation_ends_as_one_that_was_not(method: Relaxing, tmp_path: Path) -> None:
    problem = planted(images=128)
    settings = RelaxSettings(method, epochs=3, batch_size=32, lr=0.01, seed=4, checkpoint_seconds=0)
    whole = relax(planted(images=128).supernet, problem.data, problem.costs, settings)
    supernet, checkpoint = planted(images=128).supernet, tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        relax(supernet, problem.data, problem.costs, settings, checkpoint, _killer(whole.steps // 2 + 1))
    again = relax(planted(images=128).supernet, problem.data, problem.costs, settings, checkpoint)
    assert again.losses == whole.losses and again.multipliers == whole.multipliers
    assert all(torch.equal(a, b) for a, b in zip(again.gates.vectors(), whole.gates.vectors(), strict=True))


def _killer(step: int) -> Progress:
    def progress(done: int, total: int, what: str) -> None:
        if done == step:
            raise KeyboardInterrupt

    return progress


def test_a_checkpoint_of_another_relaxation_is_refused(tmp_path: Path) -> None:
    problem, checkpoint = planted(images=64), tmp_path / "checkpoint.safetensors"
    relax(problem.supernet, problem.data, problem.costs, RelaxSettings(epochs=1, batch_size=32), checkpoint)
    with pytest.raises(PipelineError, match=r"another relaxation \(lr differ\)"):
        other = RelaxSettings(epochs=1, batch_size=32, lr=0.5)
        relax(problem.supernet, problem.data, problem.costs, other, checkpoint)


def test_what_is_read_off_is_the_most_probable_network_or_the_nearest_inside_the_limits() -> None:
    codes, costs = Codes(LARGE), costs_of("200M", "large")
    problem = FeasibleSpace(codes, costs, costs.ensure_reachable())
    inside = codes.decode(problem.random(1, np.random.default_rng(0)))[0]
    assert feasible_networks(LARGE, hard_gates(LARGE, inside), problem, 1, seed=0) == [inside]
    largest = feasible_networks(LARGE, hard_gates(LARGE, LARGE.max()), problem, 3, seed=0)
    assert costs.feasible(codes.encode(largest)).all()
    changed = (codes.encode(largest[:1]) != codes.encode([LARGE.max()])).sum()
    assert changed < 0.6 * len(codes.names)


def test_a_budget_that_nothing_meets_is_said_before_anything_is_read_off() -> None:
    costs = planted(images=32).costs.with_limit("macs", 1.0)
    with pytest.raises(InfeasibleBudget):
        feasible_networks(SPACE, hard_gates(SPACE, SPACE.max()), FeasibleSpace(Codes(SPACE), costs), 1, seed=0)


def test_a_multiplier_grows_while_its_limit_is_exceeded_and_vanishes_where_it_does_not_bind() -> None:
    costs = planted(images=32).costs
    limits = Limits(costs, steps=10)
    largest, smallest = hard_gates(SPACE, SPACE.max()), hard_gates(SPACE, SPACE.min())
    assert float(limits.penalty(smallest)) == 0
    limits.update(largest)
    assert float(limits.multipliers[0]) > 0 and float(limits.penalty(largest)) > 0
    for _ in range(20):
        limits.update(smallest)
    assert float(limits.multipliers[0]) == 0


# -- Single-Path ------------------------------------------------------------------------------------------


def test_an_indicator_is_hard_forward_and_a_sigmoid_backward() -> None:
    importances = torch.tensor([0.4, 1.2])
    thresholds = torch.tensor([0.9, 0.9], requires_grad=True)
    taken = indicators(importances, thresholds)
    assert taken.tolist() == [0.0, 1.0]
    upstream = torch.tensor([2.0, -1.0])
    (gradient,) = torch.autograd.grad(taken, thresholds, upstream)
    soft = torch.sigmoid(3 * (importances - thresholds.detach()))
    torch.testing.assert_close(gradient, -upstream * 3 * soft * (1 - soft))


def test_thresholds_start_with_the_largest_network_and_infinite_ones_are_the_smallest() -> None:
    supernet = Supernet(SPACE)
    method = METHODS["single-path"](supernet)
    generator = torch.Generator().manual_seed(0)
    assert most_probable(SPACE, method.gates(1.0, generator)) == SPACE.max()
    with torch.no_grad():
        method.get_parameter("thresholds").fill_(torch.inf)
    assert most_probable(SPACE, method.gates(1.0, generator)) == SPACE.min()


def test_indicators_are_dropped_in_the_warm_up_only() -> None:
    method = METHODS["single-path"](Supernet(SPACE))
    drawn = {str(most_probable(SPACE, method.gates(0.1, torch.Generator().manual_seed(seed)))) for seed in range(20)}
    assert len(drawn) > 5


# -- DARTS and its perturbation ----------------------------------------------------------------------------


def _halfway(method: Relaxing, planted_by: Planted) -> RelaxTraining:
    """A training whose gates have learned and rest from now on; its weights rest too."""
    training = RelaxTraining(
        planted_by.supernet.train(),
        planted_by.data,
        replace(planted_by.costs, limits=()),
        RelaxSettings(method, 6, lr=0.0),
    )
    training.step = training.steps // 2
    return training


def _depth_of_stage(options: OptionLogits, stage: int) -> slice:
    return options.decisions[0 if stage == 1 else 3]  # each stage of the planted space: depth, then its layers


def test_gates_may_favour_a_missing_layer_that_the_network_cannot_do_without() -> None:
    """The known failure of magnitudes, and what perturbation makes of it."""
    training = _halfway("darts-pt", planted(seed=1))
    assert isinstance(training.method, DartsPT)
    options = training.method.options
    with torch.no_grad():
        for decision, option in zip(options.decisions, _choices(PLANTED), strict=True):
            options.logits[decision][option] = 5.0
        options.logits[_depth_of_stage(options, 1)] = torch.tensor([1.0, 0.0])  # one layer, says the gate
    magnitude = most_probable(SPACE, options.gates())
    assert len(magnitude.stages[0].ops) == 1
    while training.step < training.steps:
        training.advance()
    assert len(most_probable(SPACE, training.method.distribution()).stages[0].ops) == 2


def _choices(arch: Architecture) -> list[int]:
    """The option of each decision of the planted space; of layers that are not there, the first."""
    found = []
    for stage, choice in zip(SPACE.stages, arch.stages, strict=True):
        found.append(stage.depths.index(len(choice.ops)))
        ops = [choice.ops[layer] if layer < len(choice.ops) else slot[0] for layer, slot in enumerate(stage.slots)]
        found += [slot.index(op) for slot, op in zip(stage.slots, ops, strict=True)]
    return found


def test_of_two_equal_options_neither_is_missed() -> None:
    """Expected of perturbation, and why it cannot choose between copies: leaving out one of them costs nothing."""
    problem = planted(seed=1)
    weight = problem.supernet.shared("stage1_layer1").weights.get_parameter("depthwise.weight")
    with torch.no_grad():
        ring = torch.ones_like(weight)
        ring[:, :, 1:-1, 1:-1] = 0
        weight.mul_(1 - ring)  # so that a kernel of 5 is one of 3
    training = _halfway("darts-pt", problem)
    assert isinstance(training.method, DartsPT)
    first = training.method.options.decisions[1]  # k3e2, k3e4, k5e2, k5e4
    training.method._decide(training, first)
    without = training.method.losses_without[first]
    torch.testing.assert_close(without[:2], without[2:], rtol=1e-4, atol=1e-4)


def test_decisions_are_taken_in_an_order_that_the_seed_decides() -> None:
    orders = []
    for seed in (0, 0, 1):
        settings = RelaxSettings("darts-pt", seed=seed)
        generator = RelaxTraining(Supernet(SPACE), planted(images=128).data, planted(images=32).costs, settings)
        orders.append(torch.randperm(7, generator=generator.generator("order of decisions")).tolist())
    assert orders[0] == orders[1] != orders[2]


def test_gates_that_nothing_but_cost_moves_collapse_to_the_cheapest_network() -> None:
    """What softmax gates are known for: labels that images say nothing of leave only the price."""
    problem = planted(images=128, room=0.5)
    noise = torch.randint(0, 4, problem.data.labels.shape, generator=torch.Generator().manual_seed(0))
    data = replace(problem.data, labels=noise)
    found = relax(Supernet(SPACE), data, problem.costs, RelaxSettings("darts", epochs=12, batch_size=32, lr=0.0))
    cheap = most_probable(SPACE, found.gates)
    assert (
        problem.costs["macs"].of(Codes(SPACE).encode([cheap]))[0]
        < 0.5 * problem.costs["macs"].of(Codes(SPACE).encode([SPACE.max()]))[0]
    )


# -- BayesNAS ---------------------------------------------------------------------------------------------


def test_without_a_penalty_no_switch_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayesnas, "_LAMBDA", 1e-9)
    problem = planted(images=128, arch=SPACE.max())
    settings = RelaxSettings("bayesnas", epochs=4, batch_size=32, lr=0.0)
    training = RelaxTraining(problem.supernet.train(), problem.data, replace(problem.costs, limits=()), settings)
    while training.step < training.steps:
        training.advance()
    assert isinstance(training.method, BayesNAS)
    assert (training.method.gamma > 1e-3).all()
