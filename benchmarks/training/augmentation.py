"""What augmentation and regularisation are worth on photographs: one published network fine-tuned many ways.

    python -m benchmarks.training.augmentation FOLDER --group 'IMG_(\\d+)\\d' --out rows.csv

FOLDER holds class folders; groups (persons) stay in one split. Each line of the result is one training: the share of
right answers on the search and the test split, and which test images were right (one bit each, in hexadecimal). What is
in the file already is not computed again. Without anything new to compute it prints, for each variant, the mean over
the seeds and the difference from the first one: with its interval over the test images.

    python -m benchmarks.training.augmentation FOLDER --out rows.csv --table
"""

import argparse
import csv
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import common
from pipeline.data.dataset import Dataset, load_dataset
from pipeline.data.division import divide
from pipeline.data.prepare import prepare, stored_px
from pipeline.data.sources import open_source
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import answers, evaluate, refresh_batchnorm
from pipeline.supernets.network import Network
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train

Answers = NDArray[np.bool_]  # of each test image, whether it is right
COLOUR: Final = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3}
BASE: Final[dict[str, Any]] = {"shift": 0.125, "flip": True}
# Name -> (augmentation, settings): each row but the first changes the product's defaults in one thing.
VARIANTS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "shift, flip": (BASE, {}),
    "crop 0.5, flip": ({"flip": True, "crop_area": 0.5}, {}),
    "crop 0.25, flip": ({"flip": True, "crop_area": 0.25}, {}),
    "shift, flip, colour": (BASE | COLOUR, {}),
    "shift, flip, RandAugment 0.3": (BASE | {"randaugment": 0.3}, {}),
    "shift, flip, mixup 0.2": (BASE, {"mixup": 0.2}),
    "shift, flip, average 0.98": (BASE, {"ema_decay": 0.98}),
    "shift, flip, AdamW 0.002": (BASE, {"lr": 0.002}),
    "shift, flip, SGD 0.02": (BASE, {"optimizer": "sgd", "lr": 0.02}),
    "shift, no flip": ({"shift": 0.125, "flip": False}, {}),
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


def answered(dataset: Dataset, options: argparse.Namespace, variant: str, seed: int) -> tuple[float, Answers]:
    """Of one training: the accuracy on the search split, and which images of the test split are right."""
    augment, settings = VARIANTS[variant]
    space = load_space(options.space).with_classes(len(dataset.classes)).with_resolutions([options.pixels])
    network, about = start(space, options.start, dataset.classes)
    statistics = (dataset.mean, dataset.std) if about is None else (about.mean, about.std)
    train_on, search, test = (
        TrainingData(part.pixels, torch.from_numpy(part.labels), *statistics, Augmentation(**augment), dataset.seen_px)
        for part in (dataset.train, dataset.search, dataset.test)
    )
    plan = {"epochs": options.epochs, "batch_size": 32, "optimizer": "adamw", "lr": 0.001, "seed": seed} | settings
    train(network, train_on, TrainSettings("alone", **plan))
    refresh_batchnorm(network, train_on.normalised()[:1024])
    accuracy = evaluate(network, search.normalised(), search.labels).accuracy
    return accuracy, answers(network, test).classes == test.labels.numpy()


def table(rows: list[dict[str, str]]) -> list[str]:
    """The result as lines of Markdown."""
    known: dict[str, dict[str, Answers]] = {}
    for row in rows:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(row["right"]), np.uint8))
        known.setdefault(row["variant"], {})[row["seed"]] = bits[: int(row["images"])].astype(bool)
    base = known[next(iter(VARIANTS))]
    lines = ["| | test, mean | seeds | minus the first, same images and seeds |", "|---|---|---|---|"]
    for variant, by_seed in known.items():
        seeds = sorted(by_seed.keys() & base.keys())
        mean = np.mean([by_seed[seed].mean() for seed in seeds])
        # An image counts by how often it is right over the seeds, so that its answers are not taken for independent.
        gain = np.mean([by_seed[seed].astype(float) - base[seed] for seed in seeds], axis=0)
        reach = 1.96 * gain.std(ddof=1) / len(gain) ** 0.5
        told = f"{100 * gain.mean():+.1f} ({100 * (gain.mean() - reach):+.1f} to {100 * (gain.mean() + reach):+.1f})"
        each = ", ".join(f"{by_seed[seed].mean():.4f}" for seed in seeds)
        lines.append(f"| {variant} | {mean:.4f} | {each} | {told if by_seed is not base else ''} |")
    return lines


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("folder")
    parser.add_argument("--group")
    parser.add_argument("--space", default="efficientnet-lite0")
    parser.add_argument("--start", default="efficientnet-lite0", help="published weights, or none")
    parser.add_argument("--pixels", type=int, default=64)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--table", action="store_true", help="print what is there, compute nothing")
    options = parser.parse_args()
    rows = common.read_rows(options.out) if options.out.exists() else []
    if not options.out.exists():
        options.out.write_text("variant,seed,search,test,cpu_seconds,images,right\n")
    if options.table:
        print("\n".join(table(rows)))
        return
    done = {(row["variant"], row["seed"]) for row in rows}
    wanted = [(v, seed) for seed in options.seeds for v in options.variants if (v, str(seed)) not in done]
    if not wanted:
        return
    dataset = images(options.folder, options.group, options.pixels)
    for variant, seed in wanted:
        begun = time.process_time()
        search, right = answered(dataset, options, variant, seed)
        seconds = round(time.process_time() - begun)
        with options.out.open("a") as stream:
            row = [variant, seed, f"{search:.4f}", f"{right.mean():.4f}", seconds, len(right)]
            csv.writer(stream).writerow([*row, np.packbits(right).tobytes().hex()])


if __name__ == "__main__":
    main()
