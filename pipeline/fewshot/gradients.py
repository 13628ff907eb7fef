"""How far the options of a decision pull the shared weights apart (Hu et al. 2022, "GM-NAS", section 3.2)."""

import math
import random
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipeline.fewshot.decisions import Decision
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.augment import resize
from pipeline.supernets.compute import device_of, on
from pipeline.supernets.supernet import Supernet

Batch = tuple[Tensor, Tensor]  # normalised images (n, 3, h, w) and labels (n,)


def option_distances(
    supernet: Supernet,
    region: SearchSpace,
    decision: Decision,
    batches: Sequence[Batch],
    rng: random.Random,
    inside: Sequence[Architecture] = (),
) -> NDArray[np.float64]:
    """1 - cosine of the gradients of each two options, averaged over `batches`; shape (options, options).

    For each batch one network is drawn from `region`, or of those of `inside`, and given each option in turn, all else
    being equal; the gradients are compared on the weights that both options use. Weights and statistics of the
    supernet are left as they were.
    """
    count = len(decision.options(region))
    total = np.zeros((count, count))
    for images, labels in batches:
        variants = decision.variants(region, rng, rng.choice(inside) if inside else None).values()
        gradients = [network_gradient(supernet, arch, images, labels) for arch in variants]
        for i, j in combinations(range(count), 2):
            total[i, j] += cosine_distance(gradients[i], gradients[j])
    return (total + total.T) / len(batches)


def network_gradient(supernet: Supernet, arch: Architecture, images: Tensor, labels: Tensor) -> list[Tensor | None]:
    """The gradient of the cross-entropy of `arch` on `images` (n, 3, h, w) and `labels` (n,) for each parameter of the
    supernet, in its shape; None where it has no part."""
    statistics = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    training, active = supernet.training, supernet.active
    parameters = list(supernet.parameters())
    try:
        supernet.train()
        supernet.activate(arch)
        device = device_of(supernet)
        loss = F.cross_entropy(supernet(resize(on(device, images), arch.resolution)), on(device, labels))
        return list(torch.autograd.grad(loss, parameters, allow_unused=True))
    finally:
        # Normalising with batch statistics also moved the running ones.
        for name, buffer in supernet.named_buffers():
            buffer.copy_(statistics[name])
        supernet.activate(active)
        supernet.train(training)


def cosine_distance(one: Sequence[Tensor | None], other: Sequence[Tensor | None]) -> float:
    """1 - cosine of two gradients (a tensor in each parameter's shape, or None) over the entries that both have; 0
    where they share none."""
    dot = norm_one = norm_other = 0.0
    for a, b in zip(one, other, strict=True):
        if a is None or b is None:
            continue
        both = (a != 0) & (b != 0)  # a slice of a shared weight leaves the rest of its gradient at 0
        x, y = a[both].double(), b[both].double()
        dot += float(x @ y)
        norm_one += float(x @ x)
        norm_other += float(y @ y)
    if norm_one == 0 or norm_other == 0:
        return 0.0
    return max(0.0, 1 - dot / math.sqrt(norm_one * norm_other))
