"""What augmentation and regularisation are worth on photographs: one published network fine-tuned many ways.

    python -m benchmarks.training.augmentation FOLDER --group 'IMG_(\\d+)\\d' --out rows.csv

FOLDER holds class folders; groups (persons) stay in one split. Each line of the result is one training: the share of
right answers on the search and the test split. What is in the file already is not computed again.
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks import common
from pipeline.data.dataset import Dataset, load_dataset
from pipeline.data.division import divide
from pipeline.data.prepare import prepare, stored_px
from pipeline.data.sources import open_source
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import evaluate, refresh_batchnorm
from pipeline.supernets.network import Network
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train

COLOUR: Final = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3}
BASE: Final[dict[str, Any]] = {"shift": 0.125, "flip": True}
# Name -> (augmentation, settings): each row but the first changes the product's defaults in one thing.
VARIANTS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "nothing": ({"shift": 0.0, "flip": False}, {}),
    "flip": ({"shift": 0.0, "flip": True}, {}),
    "shift": ({"shift": 0.125, "flip": False}, {}),
    "shift, flip": (BASE, {}),
    "crop 0.5, flip": ({"flip": True, "crop_area": 0.5}, {}),
    "crop 0.25, flip": ({"flip": True, "crop_area": 0.25}, {}),
    "shift, flip, colour": (BASE | COLOUR, {}),
    "crop 0.5, flip, colour": ({"flip": True, "crop_area": 0.5} | COLOUR, {}),
    "shift, flip, RandAugment 0.3": (BASE | {"randaugment": 0.3}, {}),
    "shift, flip, mixup 0.2": (BASE, {"mixup": 0.2}),
    "shift, flip, average 0.98": (BASE, {"ema_decay": 0.98}),
    "shift, flip, no smoothing": (BASE, {"label_smoothing": 0.0}),
}


def images(folder: str, group: str | None, seen_px: int) -> Dataset:
    """The three splits, decoded."""
    division = divide(open_source(folder, group, "image", "label"), 0.15, 0.2, 0)
    place = Path(tempfile.mkdtemp())
    prepare(division, stored_px(division, seen_px), place, seen_px=seen_px, skip_broken=True)
    return load_dataset(place)


def start(space: SearchSpace, weights: str, classes: tuple[str, ...]) -> tuple[Network, Any]:
    """The largest network of `space`, with published weights where they are asked for, and where those are from."""
    supernet, about = Supernet(space), None
    if weights != "none":
        from pipeline.weights.sources import open_weights
        from pipeline.weights.start import start_supernet

        about = start_supernet(supernet, open_weights(weights), classes).weights.provenance
    return supernet.extract(space.max()), about


def accuracies(dataset: Dataset, options: argparse.Namespace, variant: str, seed: int) -> tuple[float, float]:
    """Of one training: on the search split and on the test split."""
    augment, settings = VARIANTS[variant]
    space = load_space(options.space).with_classes(len(dataset.classes)).with_resolutions([options.pixels])
    network, about = start(space, options.start, dataset.classes)
    statistics = (dataset.mean, dataset.std) if about is None else (about.mean, about.std)
    parts = [
        TrainingData(part.pixels, torch.from_numpy(part.labels), *statistics, Augmentation(**augment), dataset.seen_px)
        for part in (dataset.train, dataset.search, dataset.test)
    ]
    plan = {"epochs": options.epochs, "batch_size": 32, "lr": options.lr, "seed": seed} | settings
    train(network, parts[0], TrainSettings("alone", **plan))
    refresh_batchnorm(network, parts[0].normalised()[:1024])
    search, test = (evaluate(network, part.normalised(), part.labels).accuracy for part in parts[1:])
    return search, test


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("folder")
    parser.add_argument("--group")
    parser.add_argument("--space", default="efficientnet-lite0")
    parser.add_argument("--start", default="efficientnet-lite0", help="published weights, or none")
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    dataset = images(options.folder, options.group, options.pixels)
    done: set[tuple[str, str]] = set()
    if options.out.exists():
        done = {(row["variant"], row["seed"]) for row in common.read_rows(options.out)}
    else:
        options.out.write_text("variant,seed,search,test,cpu_seconds\n")
    for seed in options.seeds:
        for variant in VARIANTS:
            if (variant, str(seed)) in done:
                continue
            begun = time.process_time()
            search, test = accuracies(dataset, options, variant, seed)
            with options.out.open("a") as stream:
                row = [variant, seed, f"{search:.4f}", f"{test:.4f}", round(time.process_time() - begun)]
                csv.writer(stream).writerow(row)


if __name__ == "__main__":
    main()
