"""What BigNAS adds to the sandwich: identities at the start, a rate that ends constant, dropout of the largest only."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.spaces.space import SearchSpace
from pipeline.supernets.batches import Batches
from pipeline.supernets.data import TrainingData
from pipeline.supernets.recipes import RECIPES
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.steps import Training
from pipeline.supernets.supernet import Supernet


def test_layers_with_a_shortcut_begin_as_identities(tiny_space: SearchSpace) -> None:
    (phase,) = RECIPES["bignas"](tiny_space)
    assert phase.zero_gamma
    supernet = Supernet(tiny_space).train()
    supernet.zero_gammas()
    x = torch.randn(4, 3, 16, 16)
    identities = 0
    network = supernet.extract(tiny_space.max())
    for module, block in zip(network, network.blocks, strict=True):
        y = module(x)
        if block.residual:
            assert torch.equal(x, y)
            identities += 1
        x = y
    assert identities == 3


def test_layers_that_only_some_networks_have_a_shortcut_in_begin_as_ever(tiny_space: SearchSpace) -> None:
    """With a gamma of 0 such a layer would pass on nothing where widths differ."""
    second = tiny_space.stages[1]
    wide = tiny_space.with_stage(1, replace(second, depths=(1,), slots=second.slots[:1], stride=1))
    supernet = Supernet(wide)
    supernet.zero_gammas()
    assert not supernet.shared("stage1_layer2").weights.get_parameter("project_norm.weight").any()
    assert supernet.shared("stage2_layer1").weights.get_parameter("project_norm.weight").all()


def test_only_the_largest_network_drops_inputs_of_its_classifier(
    tiny_space: SearchSpace, tiny_data: TrainingData
) -> None:
    supernet = Supernet(tiny_space)
    training = Training(supernet.train(), tiny_data, TrainSettings("bignas", batch_size=16, seed=1))
    dropped: list[tuple[bool, float]] = []
    head = supernet._meta_block(supernet.place(tiny_space.max())[-1][1])

    def heard(module: object, inputs: tuple[Tensor, ...]) -> None:
        dropped.append((supernet.active == tiny_space.max(), float((inputs[0] == 0).float().mean())))

    head.module.register_forward_pre_hook(heard)
    training.advance()
    largest = [share for is_largest, share in dropped if is_largest]
    others = [share for is_largest, share in dropped if not is_largest]
    assert len(dropped) == 4 and len(largest) >= 1
    assert largest[0] > max(others) + 0.1


@pytest.mark.parametrize(("start", "stop"), [(0, 8), (8, 16)])
def test_processes_drop_their_parts_of_one_mask(tiny_data: TrainingData, start: int, stop: int) -> None:
    whole = Batches(tiny_data, 16, seed=2)
    part = replace(whole, part=slice(start, stop))
    assert torch.equal(part.kept(3, 500, 0.2), whole.kept(3, 500, 0.2)[start:stop])
    assert not torch.equal(whole.kept(3, 500, 0.2), whole.kept(4, 500, 0.2))
    assert float(whole.kept(3, 500, 0.2).float().mean()) == pytest.approx(0.8, abs=0.02)


def test_the_rate_falls_to_a_twentieth_and_stays_there(tiny_space: SearchSpace) -> None:
    (phase,) = RECIPES["bignas"](tiny_space)
    factors = [phase.lr_factor(step / 90) for step in range(91)]
    assert factors[0] == 1 and factors[:60] == sorted(factors[:60], reverse=True)
    assert factors[30] == pytest.approx(0.05**0.5)
    assert factors[60:] == pytest.approx([0.05] * 31)
