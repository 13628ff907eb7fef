"""A space without a benchmark: networks of `efficientnet-lite0` inside a budget, on one of two sets of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.ranking.lite0_pictures import PIXELS, START, Source
from pipeline.budget import read_budget
from pipeline.search.candidates import keys
from pipeline.search.costs import Costs, space_costs
from pipeline.search.pool import FeasibleSpace
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.spaces.files import load_space
from pipeline.supernets.supernet import Supernet
from pipeline.weights.sources import open_weights
from pipeline.weights.start import start_supernet

BUDGET = "20M"
SPACE = load_space(START).with_classes(10).with_resolutions([48, PIXELS])
BAND_EDGES = (14e6, 16e6, 18e6)  # MACs; random networks inside the budget have 11 to 20 million
BANDS = len(BAND_EDGES) + 1
_DRAWN_FOR_BANDS = 4000


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything; epochs are passes over the training images.

    `truth` networks are trained alone, `others` are only judged: the ranker learns from them. `again` of the truth's
    networks are trained a second time. `extra_epochs` is what each way trains on after the root, told for one supernet.
    """

    pictures: Source
    train: int
    search: int
    batchnorm: int
    test: int
    truth: int
    others: int
    again: int
    root_epochs: float
    extra_epochs: float
    alone_epochs: float
    gradient_batches: int


SCALES = {
    "tiny": Scale("cifar10", 64, 32, 32, 40, 8, 8, 2, 1, 4, 1, 1),  # does it run?
    "small": Scale(
        "cifar10", 1600, 400, 100, 2500, 40, 32, 8, 3, 1.5, 2, 4
    ),  # five CPU minutes a seed, eleven the truth
    "cifar10": Scale("cifar10", 1600, 400, 100, 4000, 60, 60, 10, 6, 3, 3, 4),
    "signs": Scale("signs", 900, 262, 100, 900, 60, 60, 10, 10, 5, 8, 4),
}


def costs() -> Costs:
    """MACs and the budget."""
    return space_costs(SPACE, read_budget({"macs": BUDGET}), {})


def macs(archs: Sequence[Architecture]) -> NDArray[np.float64]:
    """Of each network, shape (n,)."""
    return np.asarray(costs().values(Codes(SPACE).encode(archs))["macs"], float)


def bands(sizes: NDArray[np.float64]) -> NDArray[np.intp]:
    """The band of MACs that each network is in, from 0, shape (n,)."""
    return np.asarray(np.digitize(sizes, BAND_EDGES))


def networks(scale: Scale) -> tuple[list[Architecture], list[Architecture]]:
    """The truth's networks, equally many of each band, and the others: random ones inside the budget, as a run draws.

    The first ones are the same for every scale; the truth's bands take turns, so that a part of them is balanced too.
    """
    codes = Codes(SPACE)
    problem = FeasibleSpace(codes, costs())
    rows = problem.random(_DRAWN_FOR_BANDS, np.random.default_rng([20, 7]))
    archs = list(codes.decode(rows))
    where = bands(macs(archs))
    each = scale.truth // BANDS
    places = np.stack([np.flatnonzero(where == band)[:each] for band in range(BANDS)], axis=1).ravel()
    truth = [archs[place] for place in places]
    others = problem.random(scale.others, np.random.default_rng([20, 11]), frozenset(keys(codes.encode(truth))))
    return truth, list(codes.decode(others))


def random_inside(count: int, seed: int) -> list[Architecture]:
    """Random networks inside the budget, as a run draws them to choose a split."""
    codes = Codes(SPACE)
    return codes.decode(FeasibleSpace(codes, costs()).random(count, np.random.default_rng(seed)))


def started(seed: int, classes: Sequence[str]) -> Supernet:
    """The space's supernet with published weights; `seed` decides the classifier's where `classes` are new."""
    supernet = Supernet(SPACE, seed=seed)
    start_supernet(supernet, open_weights(START), classes)
    return supernet
