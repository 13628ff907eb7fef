"""A problem with a known answer: images labelled by one network, whose weights the supernet already has."""

from dataclasses import dataclass, replace

import torch

from pipeline.budget import read_budget
from pipeline.search.costs import Costs, space_costs
from pipeline.spaces.architecture import Architecture, Op
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import Head, Stage, Stem
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.data import TrainingData
from pipeline.supernets.supernet import Supernet

_OPS = tuple(Op(kernel, expand) for kernel in (3, 5) for expand in (2, 4))
SPACE = SearchSpace(
    "planted",
    4,
    (12,),
    Stem(8, stride=1),
    (
        Stage((16,), (1, 2), (_OPS, _OPS), 2, "relu"),
        Stage((24,), (1, 2, 3), (_OPS, _OPS, _OPS), 2, "relu"),
    ),
    Head(32, 0),
)
_ADDED = 0.5
PLANTED = Architecture.parse("r12_w16-k5e2-k3e4_w24-k3e2-k5e2")
_SQUEEZED = tuple(Op(3, expand, squeeze) for expand in (2, 4) for squeeze in (0, 0.5))
SQUEEZED_SPACE = replace(
    SPACE,
    name="squeezed",
    stages=(
        Stage((16,), (2,), (_SQUEEZED, _SQUEEZED), 2, "relu"),
        Stage((24,), (2,), (_SQUEEZED, _SQUEEZED), 2, "relu"),
    ),
)
SQUEEZED = Architecture.parse("r12_w16-k3e2s0.5-k3e2_w24-k3e4-k3e2s0.5")
_STRONG = 3.0  # so that a squeeze-and-excitation depends on the image


@dataclass(frozen=True)
class Planted:
    """A supernet, images, and the costs that forbid the largest network but not the planted one."""

    supernet: Supernet
    data: TrainingData
    costs: Costs


def planted(
    seed: int = 0, images: int = 512, room: float = 1.02, arch: Architecture = PLANTED, space: SearchSpace = SPACE
) -> Planted:
    """Each decision has one option that is truly better: the one that the labels were made with."""
    supernet = Supernet(space, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(images, 3, 6, 6, generator=generator)
    pixels = torch.nn.functional.interpolate(low, (12, 12), mode="bilinear").permute(0, 2, 3, 1)
    pixels = (255 * (pixels + 0.25 * torch.rand(images, 12, 12, 3, generator=generator)).clamp(0, 1)).to(torch.uint8)
    data = TrainingData(pixels, torch.zeros(images, dtype=torch.long), (0.5,) * 3, (0.25,) * 3, Augmentation(0, False))
    supernet.activate(arch)
    with torch.no_grad():
        _soften(supernet)
        logits = supernet.train()(data.normalised())
        mean, std = logits.mean(0), logits.std(0)
        linear = supernet.shared("head_linear").weights
        linear.get_parameter("linear.weight").mul_(4 / std[:, None])
        linear.get_parameter("linear.bias").copy_(-4 * mean / std)
        labels = supernet(data.normalised()).argmax(1)
    budget = read_budget({"macs": room * sum(block.macs for block in space.blocks(arch))})
    return Planted(
        supernet, TrainingData(pixels, labels, data.mean, data.std, data.augment), space_costs(space, budget, {})
    )


def _soften(supernet: Supernet) -> None:
    """Make what each choice adds small beside what is there without it, so that each is worth something by itself."""
    for key in supernet.banks:
        if not key.startswith("stage"):
            continue
        weights = supernet.shared(key).weights
        block = weights.block
        depthwise = weights.get_parameter("depthwise.weight")
        ring = torch.ones_like(depthwise)
        ring[:, :, 1:-1, 1:-1] = 0
        depthwise.mul_(1 - (1 - _ADDED) * ring)
        weights.get_parameter("project.weight")[:, block.mid_channels // 2 :].mul_(_ADDED)
        if block.se_channels:
            weights.get_parameter("squeeze.expand.weight").mul_(_STRONG)
        if not key.endswith("layer1"):
            weights.get_parameter("project_norm.weight").mul_(_ADDED)
