"""A space without a benchmark: networks of `efficientnet-lite0` inside a budget, and enlarged CIFAR-10 pictures.

Reads `cifar10_train.parquet` and `cifar10_test.parquet` of the public data.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import common
from pipeline.budget import read_budget
from pipeline.fewshot.prefix import JudgingImages
from pipeline.search.candidates import keys
from pipeline.search.costs import Costs, space_costs
from pipeline.search.pool import FeasibleSpace
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.spaces.files import load_space
from pipeline.supernets.data import TrainingData
from pipeline.supernets.supernet import Supernet
from pipeline.weights.catalogue import CATALOGUE
from pipeline.weights.sources import open_weights
from pipeline.weights.start import start_supernet

START, BUDGET, PIXELS = "efficientnet-lite0", "20M", 64
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPACE = load_space(START).with_classes(len(CLASSES)).with_resolutions([48, PIXELS])
BAND_EDGES = (14e6, 16e6, 18e6)  # MACs; random networks inside the budget have 11 to 20 million
BANDS = len(BAND_EDGES) + 1
_DRAWN_FOR_BANDS = 4000


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything; epochs are passes over the training images.

    `truth` networks are trained alone, `others` are only judged: the ranker learns from them. `again` of the truth's
    networks are trained a second time. `extra_epochs` is what each way trains on after the root, told for one supernet.
    """

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
    "tiny": Scale(64, 32, 32, 40, 8, 8, 2, 1, 4, 1, 1),  # does it run?
    "small": Scale(1600, 400, 100, 2500, 40, 32, 8, 3, 1.5, 2, 4),  # about five CPU minutes a seed, eleven the truth
    "medium": Scale(3500, 1024, 256, 4000, 60, 60, 10, 6, 4, 6, 4),  # a quiet machine's: some hours in all
}


@dataclass(frozen=True)
class Pictures:
    """What is trained on, what judges networks while they are ranked, and what says how good they truly are."""

    train: TrainingData
    search: TrainingData
    test: TrainingData

    def judging(self, batchnorm: int) -> JudgingImages:
        """The search pictures, and training pictures for BatchNorm, as `pocketnas run` takes them."""
        images = self.train.normalised(torch.arange(batchnorm))
        return JudgingImages(images, self.search.normalised(), self.search.labels)


def pictures(work: Path, scale: Scale) -> Pictures:
    """Decoded once into `work`: training and search pictures from the training file, test pictures from the other."""
    about = CATALOGUE[START]

    def part(name: str, first: int, count: int) -> TrainingData:
        images, labels = _decoded(work, name)
        chosen = slice(first, first + count)
        return TrainingData(torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen]), about.mean, about.std)

    # Labels lie shuffled in both files, so the first are as good as any.
    return Pictures(
        part("train", 0, scale.train), part("train", scale.train, scale.search), part("test", 0, scale.test)
    )


def _decoded(work: Path, name: str, most: int = 5000) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first `most` pictures of a file, enlarged as preparing a run's images does, (n, 64, 64, 3), and labels."""
    file = work / f"{name}-{PIXELS}px.npz"
    if not file.is_file():
        import pyarrow.parquet as pq
        from PIL import Image

        rows = pq.read_table(common.SHARED / f"cifar10_{name}.parquet").slice(0, most)
        found = [Image.open(io.BytesIO(cell["bytes"])).convert("RGB") for cell in rows["image"].to_pylist()]
        large = [np.asarray(image.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)) for image in found]
        work.mkdir(parents=True, exist_ok=True)
        np.savez(file, images=np.stack(large), labels=np.array(rows["label"].to_pylist(), dtype=np.int64))
    with np.load(file) as kept:
        return kept["images"], kept["labels"]


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


def started(seed: int) -> Supernet:
    """The space's supernet with published weights; `seed` decides the classifier's."""
    supernet = Supernet(SPACE, seed=seed)
    start_supernet(supernet, open_weights(START), CLASSES)
    return supernet
