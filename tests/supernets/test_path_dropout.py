"""One-shot training as first published: ops side by side, dropped at random (Bender et al. 2018)."""

import random
from dataclasses import replace

import pytest
import torch

from pipeline.spaces.architecture import Architecture
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.data import TrainingData
from pipeline.supernets.recipes import DROPPED, RECIPES, kept_paths
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.steps import Training
from pipeline.supernets.supernet import Supernet, SupernetError
from tests.supernets.lively import lively

RATE = 0.3


def _ops(arch: Architecture) -> list[tuple]:  # type: ignore[type-arg]
    return [(op,) for choice in arch.stages for op in choice.ops]


def test_one_path_a_layer_is_the_network_itself(tiny_space: SearchSpace) -> None:
    supernet = lively(tiny_space).train()
    images = torch.randn(8, 3, 16, 16)
    for seed in range(5):
        arch = replace(tiny_space.sample_genes(random.Random(seed)), resolution=16)
        supernet.activate(arch)
        alone = supernet(images)
        supernet.activate(arch, _ops(arch))
        assert torch.equal(supernet(images), alone)


def test_nothing_dropped_is_the_sum_of_all_ops_with_one_shortcut(tiny_space: SearchSpace) -> None:
    supernet = lively(tiny_space).train()
    arch = tiny_space.max()
    last = tiny_space.stages[-1].slots[-1]
    wide = [*_ops(arch)[:-1], last]
    supernet.activate(arch)
    x = images = torch.randn(4, 3, 16, 16)
    for ((key, block),) in supernet._active[: len(wide)]:
        x = supernet._run(key, block, x)
    outputs = []
    for op in last:
        stages = (*arch.stages[:-1], replace(arch.stages[-1], ops=(*arch.stages[-1].ops[:-1], op)))
        outputs.append(supernet._run(*supernet.place(replace(arch, stages=stages))[len(wide)], x) - x)
    expected = x + sum(outputs)
    for placed in supernet._active[1 + len(wide) :]:  # the head
        expected = supernet._run(*placed[0], expected)
    supernet.activate(arch, wide)
    assert torch.allclose(supernet(images), expected, atol=1e-4)
    supernet.activate(arch)
    assert not torch.allclose(supernet(images), expected, atol=1e-2)


def test_a_layer_without_ops_passes_on_what_it_gets_only_where_it_has_a_shortcut(tiny_space: SearchSpace) -> None:
    supernet = lively(tiny_space).train()
    arch = tiny_space.max()
    shorter = replace(arch, stages=(arch.stages[0], replace(arch.stages[1], ops=arch.stages[1].ops[:2])))
    images = torch.randn(4, 3, 16, 16)
    supernet.activate(shorter)
    expected = supernet(images)
    supernet.activate(arch, [*_ops(arch)[:-1], ()])
    assert torch.equal(supernet(images), expected)
    with pytest.raises(SupernetError, match=r"layer 1 of .* has no shortcut, so at least one op must stay"):
        supernet.activate(arch, [(), *_ops(arch)[1:]])


@pytest.mark.parametrize("ops", [1, 3, 9])
def test_all_ops_are_dropped_at_the_rate_whatever_their_number(ops: int) -> None:
    rng, draws = random.Random(0), 20_000
    lost = sum(not kept_paths(range(ops), RATE, rng) for _ in range(draws)) / draws
    assert abs(lost - RATE) < 4 * (RATE * (1 - RATE) / draws) ** 0.5
    assert kept_paths(range(ops), 0.0, rng) == tuple(range(ops))


def test_the_rate_rises_from_nothing(tiny_space: SearchSpace) -> None:
    (phase,) = RECIPES["path-dropout"](tiny_space)
    everything = sum(len(slot) for stage in tiny_space.stages for slot in stage.slots)

    def share(done: float) -> float:
        plans = [phase.plan(random.Random(seed), done)[0] for seed in range(200)]
        return sum(len(ops) for part in plans for ops in part.paths) / (len(plans) * everything)

    assert share(0.0) == 1.0
    assert 1.0 > share(0.5) > share(1.0)
    assert share(1.0) == pytest.approx(1 - DROPPED ** (1 / 9), abs=0.06)


def test_what_is_dropped_has_no_gradient_and_does_not_decay(tiny_space: SearchSpace, tiny_data: TrainingData) -> None:
    """Weights of their own, so that an op that is dropped uses none of the kept one's."""
    supernet = Supernet(tiny_space, "separate", seed=3)
    before = {name: tensor.clone() for name, tensor in supernet.named_parameters()}
    training = Training(
        supernet.train(), tiny_data, TrainSettings("path-dropout", batch_size=16, weight_decay=0.1, seed=2)
    )
    training.step = training.steps - 1  # the rate is at its highest
    part = training.phases[0][0].plan(random.Random(f"2/{training.step}"), training.step / training.steps)[0]
    training.advance()
    stages = [(number, len(choice.ops)) for number, choice in enumerate(part.arch.stages, 1)] if part.arch else []
    layers = [(number, layer) for number, count in stages for layer in range(1, count + 1)]
    dropped = kept = 0
    for (number, layer), ops in zip(layers, part.paths, strict=True):
        for op in tiny_space.stages[number - 1].slots[layer - 1]:
            names = [name for name in before if name.startswith(f"banks.stage{number}_layer{layer}_{op}.weights.")]
            parameters = dict(supernet.named_parameters())
            same = all(torch.equal(before[name], parameters[name]) for name in names)
            assert same == (op not in ops)
            dropped, kept = dropped + (op not in ops), kept + (op in ops)
    assert dropped > 3 and kept > 3
