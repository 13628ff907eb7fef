"""A supernet computes what its extracted networks do, and hands its weights to regions of its space."""

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.spaces.architecture import Architecture, Op, StageChoice
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.network import Network
from pipeline.supernets.shared_weights import SharedWeights
from pipeline.supernets.supernet import Sharing, Supernet, SupernetError, inherit
from tests.spaces.families import FAMILIES
from tests.supernets.lively import lively


def _worst_difference(supernet: Supernet, archs: list[Architecture], x: Tensor) -> float:
    worst = 0.0
    with torch.inference_mode():
        for arch in archs:
            supernet.activate(arch)
            logits = supernet(x)
            assert logits.abs().max() > 1e-3  # of a dead network nothing could be told
            worst = max(worst, float((supernet.extract(arch)(x) - logits).abs().max()))
    return worst


@pytest.mark.parametrize("name", FAMILIES)
def test_extracted_networks_equal_the_supernet(name: str) -> None:
    space = load_space(name).with_resolutions((16,))
    supernet, rng = lively(space), random.Random(0)
    archs = [space.min(), space.max(), *(space.sample(rng) for _ in range(198))]
    assert _worst_difference(supernet, archs, torch.randn(1, 3, 16, 16)) < 1e-5


@pytest.mark.parametrize("sharing", ["nested", "separate"])
@pytest.mark.parametrize("name", ["tiny_space", "squeezed_space"])
def test_extracted_networks_equal_the_supernet_in_a_space_with_every_choice(
    name: str, sharing: Sharing, request: pytest.FixtureRequest
) -> None:
    space = request.getfixturevalue(name)
    supernet, rng = lively(space, sharing), random.Random(0)
    archs = [space.sample(rng) for _ in range(60)]
    assert _worst_difference(supernet, archs, torch.randn(2, 3, 16, 16)) < 1e-5
    supernet.train()
    assert _worst_difference(supernet, archs[:5], torch.randn(4, 3, 16, 16)) < 1e-5


@pytest.mark.parametrize(("name", "params"), [("ofa-mbv3-1.0", 7_678_880), ("ofa-mbv3-1.2", 10_715_752)])
def test_parameters_equal_those_of_once_for_all(name: str, params: int) -> None:
    supernet = Supernet(load_space(name))
    assert sum(p.numel() for p in supernet.parameters()) == params
    largest = supernet.extract(supernet.space.max())
    transforms = sum(p.numel() for n, p in supernet.named_parameters() if ".transforms." in n)
    assert transforms == 14_120
    assert sum(p.numel() for p in largest.parameters()) == params - transforms


def test_an_extracted_network_is_its_own(tiny_space: SearchSpace) -> None:
    supernet = lively(tiny_space)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    networks = [supernet.extract(tiny_space.max()) for _ in range(2)]
    with torch.no_grad():
        for tensor in networks[0].state_dict().values():
            tensor.zero_()
    networks[0].register_forward_hook(lambda *_: pytest.fail("a hook of another network ran"))
    networks[0][0].register_forward_hook(lambda *_: pytest.fail("a hook of another network ran"))
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())
    assert networks[1](torch.randn(2, 3, 16, 16)).abs().sum() > 0


def test_an_extracted_network_is_an_ordinary_one(tiny_space: SearchSpace) -> None:
    arch = tiny_space.max()
    extracted, built = lively(tiny_space).extract(arch), Network(tiny_space.blocks(arch))
    assert extracted.blocks == built.blocks == tiny_space.blocks(arch)
    assert str(extracted) == str(built)
    own, other = extracted.state_dict(), built.state_dict()
    assert [(n, t.shape, t.dtype) for n, t in own.items()] == [(n, t.shape, t.dtype) for n, t in other.items()]
    built.load_state_dict(own)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(built.eval()(x), extracted(x))


def test_identity_transforms_give_centre_crops(tiny_space: SearchSpace) -> None:
    supernet = Supernet(tiny_space)
    key, seven = next(p for p in supernet.place(tiny_space.max()) if p[1].kernel == 7)
    full = supernet.slices(key, seven)["depthwise.weight"]
    for kernel in (5, 3):
        cut = (7 - kernel) // 2
        crop = full[:, :, cut:-cut, cut:-cut]
        torch.testing.assert_close(supernet.slices(key, replace(seven, kernel=kernel))["depthwise.weight"], crop)


def test_learned_transforms_apply_step_by_step(tiny_space: SearchSpace) -> None:
    supernet = lively(tiny_space)
    key, seven = next(p for p in supernet.place(tiny_space.max()) if p[1].kernel == 7)
    shared = supernet.banks[key]
    assert isinstance(shared, SharedWeights)
    channels = seven.mid_channels - 8
    weight = shared.weights.depthwise.weight[:channels, 0]  # type: ignore[union-attr,index]
    five = (weight[:, 1:6, 1:6].reshape(-1, 25) @ shared.transforms["7to5"].T).reshape(-1, 5, 5)
    three = (five[:, 1:4, 1:4].reshape(-1, 9) @ shared.transforms["5to3"].T).reshape(-1, 1, 3, 3)
    got = supernet.slices(key, replace(seven, kernel=3, mid_channels=channels))["depthwise.weight"]
    torch.testing.assert_close(got, three)


def test_sorting_channels_keeps_the_largest_network_and_moves_the_important_forward(tiny_space: SearchSpace) -> None:
    supernet = lively(tiny_space)
    top = tiny_space.max()
    x = torch.randn(2, 3, 16, 16)
    key, block = next(p for p in supernet.place(top) if p[0] == "stage2_layer1")
    before, weight = supernet.extract(top)(x), supernet.slices(key, block)["project.weight"].clone()
    supernet.sort_channels()
    after = supernet.slices(key, block)["project.weight"]
    torch.testing.assert_close(supernet.extract(top)(x), before, rtol=1e-4, atol=1e-5)
    importance = after.abs().sum(dim=(0, 2, 3))
    assert not torch.equal(after, weight)
    assert (importance.diff() <= 1e-6).all()


REGIONS = (
    "kernel 3", "kernel 5", "kernels 3 and 7", "kernels 3 and 5", "ratio 1", "ratio 2",
    "skip", "no skip", "narrow", "wide", "shallow", "resolution",
)  # fmt: skip


def _regions(space: SearchSpace) -> dict[str, SearchSpace]:
    first, second = space.stages

    def only(index: int, layer: int, *ops: Op) -> SearchSpace:
        stage = space.stages[index]
        slots = tuple(ops if i == layer else slot for i, slot in enumerate(stage.slots))
        return space.with_stage(index, replace(stage, slots=slots))

    narrow = replace(first, widths=(8,))
    return {
        "kernel 3": only(1, 0, Op(3, 2), Op(3, 3)),
        "kernel 5": only(1, 0, Op(5, 2)),
        "kernels 3 and 7": only(1, 1, Op(3, 1), Op(3, 3), Op(7, 2)),
        "kernels 3 and 5": only(1, 1, Op(3, 3), Op(5, 2)),
        "ratio 1": only(1, 1, Op(3, 1), Op(5, 1)),
        "ratio 2": only(1, 0, Op(5, 2), Op(7, 2)),
        "skip": only(0, 0, *first.slots[0][:1]),
        "no skip": only(0, 0, *first.slots[0][1:]),
        "narrow": space.with_stage(0, narrow),
        "wide": space.with_stage(1, replace(second, widths=(24,))),
        "shallow": space.with_stage(1, replace(second, depths=(1,), slots=second.slots[:1])),
        "resolution": space.with_resolutions((12,)),
    }


@pytest.mark.parametrize("sharing", ["nested", "separate"])
@pytest.mark.parametrize("name", REGIONS)
def test_a_child_computes_what_its_parent_does(tiny_space: SearchSpace, name: str, sharing: Sharing) -> None:
    region = _regions(tiny_space)[name]
    parent = lively(tiny_space, sharing)
    child, rng = inherit(parent, region), random.Random(0)
    assert not child.training
    x = torch.randn(2, 3, 12, 12)
    for _ in range(8):
        arch = region.sample(rng)
        parent.activate(arch)
        child.activate(arch)
        assert (child(x) - parent(x)).abs().max() < 1e-5
    count = [sum(p.numel() for p in s.parameters()) for s in (child, Supernet(region, sharing), parent)]
    assert count[0] == count[1]
    assert count[0] < count[2] or name in ("resolution", "kernels 3 and 7", "wide", "no skip")


def test_a_grandchild_still_computes_it(tiny_space: SearchSpace) -> None:
    regions = _regions(tiny_space)
    parent = lively(tiny_space)
    region = regions["kernels 3 and 7"]
    stage = region.stages[1]
    smaller = region.with_stage(1, replace(stage, slots=(stage.slots[0], (Op(3, 3),), stage.slots[2])))
    child = inherit(inherit(parent, region), smaller)
    arch = smaller.max()
    child.activate(arch)
    parent.activate(arch)
    x = torch.randn(2, 3, 12, 12)
    assert (child(x) - parent(x)).abs().max() < 1e-5


def test_a_child_owns_its_weights(tiny_space: SearchSpace) -> None:
    parent = lively(tiny_space)
    before = {name: tensor.clone() for name, tensor in parent.state_dict().items()}
    child = inherit(parent, tiny_space)
    with torch.no_grad():
        for parameter in child.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in parent.state_dict().items())


@pytest.mark.parametrize(
    "region", [load_space("quickstart"), load_space("nas-bench-macro")], ids=lambda region: region.name
)
def test_a_foreign_region_is_refused(tiny_space: SearchSpace, region: SearchSpace) -> None:
    with pytest.raises(SupernetError, match="parts of its own space"):
        inherit(Supernet(tiny_space), region)


def test_a_larger_region_is_refused(tiny_space: SearchSpace) -> None:
    wider = tiny_space.with_stage(1, replace(tiny_space.stages[1], widths=(16, 32)))
    with pytest.raises(SupernetError, match="parts of its own space"):
        inherit(Supernet(tiny_space), wider)


def test_sampling_is_over_genes_and_activation_checks(tiny_space: SearchSpace) -> None:
    supernet = Supernet(tiny_space)
    assert supernet.sample(random.Random(5)) == tiny_space.sample_genes(random.Random(5))
    outside = Architecture(12, (StageChoice(8, (Op(3, 1),)), StageChoice(99, (Op(3, 2),))))
    with pytest.raises(ValueError, match="width 99"):
        supernet.activate(outside)


def test_two_supernets_of_one_seed_are_equal_and_of_two_are_not(tiny_space: SearchSpace) -> None:
    one, same, other = (Supernet(tiny_space, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_gradients_reach_exactly_the_slices_in_use(tiny_space: SearchSpace) -> None:
    supernet = Supernet(tiny_space).train()
    supernet.activate(tiny_space.min())
    supernet(torch.randn(4, 3, 12, 12)).square().sum().backward()
    for key, block in supernet.place(tiny_space.min()):
        for name, tensor in supernet.slices(key, block).items():
            if tensor.requires_grad and name == "project.weight":
                shared = supernet.banks[key]
                assert isinstance(shared, SharedWeights)
                grad = dict(shared.weights.named_parameters())[name].grad
                assert grad is not None
                assert grad[: block.out_channels, : block.mid_channels].abs().sum() > 0
                assert grad[block.out_channels :].abs().sum() == 0
                assert grad[:, block.mid_channels :].abs().sum() == 0
    unused = dict(supernet.banks["stage2_layer3"].named_parameters())
    assert all(parameter.grad is None for parameter in unused.values())
