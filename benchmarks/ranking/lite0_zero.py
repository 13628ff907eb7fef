"""The zero-cost columns of the space without a benchmark: of published weights, and of two random initialisations."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks.ranking.lite0_pictures import Pictures
from benchmarks.ranking.lite0_problem import SPACE, started
from benchmarks.ranking.zero_cost import (
    PARTS,
    activations,
    assembled,
    az_nas,
    gradient_norm,
    naswot,
    response_correlation,
)
from pipeline.ranking.weighted import Floats
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.network import Network

IMAGES = 32
SEEDS = {"": 0, "_again": 1}  # of the random weights, by what their columns' names end in
PUBLISHED, WRCOR = ("nonlinearities", "naswot", "gradient_norm"), "wrcor"
ZERO_COST = (*PUBLISHED, *(name + end for end in SEEDS for name in (*PARTS, WRCOR)))


def zero_cost(archs: Sequence[Architecture], pictures: Pictures) -> list[dict[str, float]]:
    """The columns ZERO_COST of each network, higher is better."""
    supernet = started(0, pictures.classes)
    chosen = torch.arange(IMAGES)
    images, labels = pictures.train.normalised(chosen), pictures.train.labels[chosen]
    found = []
    for arch in archs:
        network = supernet.extract(arch)
        columns = {
            "nonlinearities": float(len(activations(network))),
            "naswot": naswot(network, images),
            "gradient_norm": gradient_norm(network, images, labels),
        }
        for end, seed in SEEDS.items():
            scores = az_nas(network, seed, IMAGES)
            columns |= {name + end: getattr(scores, name) for name in PARTS}
            columns[WRCOR + end] = response_correlation(Network(SPACE.blocks(arch), seed), images, labels)
        found.append(columns)
    return found


def zero_cost_rankings(column: Callable[[str], Floats]) -> dict[str, Floats]:
    """AZ-NAS and WRCor by name, of the networks whose columns, shape (n,), are given."""
    found = {}
    for end, seed in SEEDS.items():
        scores = [*(column(name + end) for name in PARTS), column("macs")]
        found[f"AZ-NAS, weights {seed}"] = assembled(np.stack(scores, axis=1))
        found[f"WRCor, weights {seed}"] = column(WRCOR + end)
    return found
