"""Criteria beside the product's, for `lite0_fewshot`: local intrinsic dimension, and how the ranking would change."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.fewshot.criteria import Evidence, gradient_passes, widest_cut
from pipeline.fewshot.decisions import Decision
from pipeline.fewshot.gradients import network_gradient
from pipeline.fewshot.grouping import completed, divisions
from pipeline.fewshot.partition import Groups, Split
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.augment import resize
from pipeline.supernets.supernet import Supernet

Floats = NDArray[np.float64]

NEIGHBOURS = 20
LID_NETWORKS = 3  # for each option; their forward passes cost what one pass of the gradient criterion does
DRAWN = 16  # networks whose gradients tell how a ranking would change


def lid(region: SearchSpace, decisions: Sequence[Decision], parts: int, evidence: Evidence) -> Split | None:
    """The decision and the two groups whose local intrinsic dimensions differ most (He et al. 2022, "NAS-LID").

    Compared is a profile over the stages, the mean over some networks that differ in the decision only, by 1 - cosine:
    the default of the authors' released code, as are 20 neighbours and 128 pictures (all batches as one).
    """
    images = torch.cat([batch for batch, _ in evidence.batches])

    def distances(part: SearchSpace, decision: Decision, inside: Sequence[Architecture]) -> Floats:
        profiles = []
        for _ in range(LID_NETWORKS):
            variants = decision.variants(part, evidence.rng, evidence.rng.choice(inside) if inside else None)
            profiles.append([lid_profile(evidence.supernet, arch, images) for arch in variants.values()])
        return one_minus_cosine(np.mean(profiles, axis=0))

    return widest_cut(region, decisions, evidence, distances, "comparing dimensions")


def lid_passes(space: SearchSpace, batches: int, decisions: Sequence[Decision]) -> float:
    """What `lid` costs, in forward and backward passes of one batch."""
    return LID_NETWORKS * gradient_passes(space, batches, decisions) / 3


@torch.no_grad()
def lid_profile(supernet: Supernet, arch: Architecture, images: Tensor) -> Floats:
    """The local intrinsic dimension of what each stage of `arch` makes of `images` (n, 3, h, w), shape (stages,)."""
    lengths = np.cumsum([len(choice.ops) for choice in arch.stages])
    x, found = resize(images, arch.resolution), []
    for place, block in enumerate(supernet.extract(arch).train()):  # the stem is block 0
        x = block(x)
        if place in lengths:
            found.append(intrinsic_dimension(x.flatten(1)))
    return np.array(found[: len(lengths)])


def intrinsic_dimension(points: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """The mean over `points` (n, d) of the maximum-likelihood estimate from each one's nearest neighbours."""
    k = min(neighbours, len(points) - 1)
    apart = torch.cdist(points.double(), points.double(), compute_mode="donot_use_mm_for_euclid_dist")
    nearest = apart.sort(1).values[:, 1 : k + 1].clamp(min=1e-12)
    return float((-1 / (nearest / nearest[:, -1:]).log().mean(1).clamp(max=-1e-12)).mean())


def one_minus_cosine(rows: Floats) -> Floats:
    """Of each two of `rows` (n, d), shape (n, n)."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.square(unit[:, None] - unit[None, :]).sum(2) / 2)


def ranking_change(region: SearchSpace, decisions: Sequence[Decision], parts: int, evidence: Evidence) -> Split | None:
    """The decision and the two groups that would change the ranking inside the groups most, told by first order.

    Networks of the region are drawn (inside the budget, where it is known) and their gradients on one batch compared.
    Each side has at least a quarter of them; options that nobody drew go where the nearest one goes.
    """
    inside = evidence.inside_of(region)
    count = min(DRAWN, len(inside)) if inside else DRAWN
    archs = evidence.rng.sample(inside, count) if inside else [region.sample(evidence.rng) for _ in range(count)]
    products = inner_products(evidence, archs)
    found = [
        Split(decision, completed(groups, decision.options(region)), predicted_change(products, sides))
        for decision in decisions
        for groups, sides in _cuts(decision, region, archs)
    ]
    best = max(found, key=lambda split: split.score, default=None)
    return best if best is not None and best.score > 0 else None


def inner_products(evidence: Evidence, archs: Sequence[Architecture]) -> Floats:
    """Of the gradients of each two of `archs` on the first batch, shape (n, n)."""
    products = np.zeros((len(archs), len(archs)))
    images, labels = evidence.batches[0]
    gradients = []
    for one, arch in enumerate(archs):
        gradients.append(network_gradient(evidence.supernet, arch, images, labels))
        for other, known in enumerate(gradients):
            shared = zip(gradients[one], known, strict=True)
            product = sum(float((a * b).sum()) for a, b in shared if a is not None and b is not None)
            products[one, other] = products[other, one] = product
        evidence.told(one + 1, len(archs), "comparing rankings")
    return products


def predicted_change(products: Floats, sides: NDArray[np.intp]) -> float:
    """How much a step on one's own side alone moves losses apart, beyond the shared step: the standard deviation over
    the networks of a side, averaged over the sides.

    The step of a side is minus the mean gradient of its networks, so a loss changes by minus the inner product of the
    gradients: `products` (n, n); `sides` (n,) says where each network is. A network's own gradient is left out of the
    means: training hardly ever draws a given network, and its large product with itself would reward uneven sides.
    """
    others = ~np.eye(len(products), dtype=bool)
    own = others & (sides[:, None] == sides[None, :])
    change = _mean(products, others) - _mean(products, own)
    return float(np.mean([change[sides == side].std() for side in sorted(set(sides.tolist()))]))


def _mean(products: Floats, counted: NDArray[np.bool_]) -> Floats:
    return np.asarray((products * counted).sum(1) / counted.sum(1))


def _cuts(
    decision: Decision, region: SearchSpace, archs: Sequence[Architecture]
) -> Iterator[tuple[Groups, NDArray[np.intp]]]:
    """Every way to put the options that `archs` have into two groups of a quarter at least, and the group of each."""
    chosen = [decision.option_of(arch) for arch in archs]
    options = [option for option in decision.options(region) if option in chosen]
    for places in divisions(len(options), 2):
        groups = tuple(tuple(options[place] for place in group) for group in places)
        sides = np.array([int(option in groups[1]) for option in chosen], dtype=np.intp)
        if min(sides.sum(), len(sides) - sides.sum()) >= max(2, len(sides) / 4):
            yield groups, sides
