"""What each part of BigNAS's recipe is worth beside the plain sandwich, on small CIFAR-10 images.

    python -m benchmarks.supernets.recipes --data FOLDER --rows rows.csv [--seeds 3] [--images 2048] [--epochs 6]

FOLDER is the work folder of benchmarks.ranking.macro_fewshot (decoded images). Each line of the rows is one training of
the space of examples/spaces/mobile-32px.toml at 16 pixels; its networks are judged with inherited weights on 2,000
held-out images. What is there is not trained again. Prints means over the seeds.
"""

import csv
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks import common
from benchmarks.ranking.macro_data import HELD_OUT, MEAN, STD, judging_images, pixels
from benchmarks.supernets.cifar import SPACE
from pipeline.fewshot.prefix import judge_all
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.data import TrainingData
from pipeline.supernets.recipes import Phase, bignas
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train

PLAIN: dict[str, Any] = {"dropout": 0.0, "tail": 0.0, "zero_gamma": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "sandwich": PLAIN,
    "and gammas of 0": PLAIN | {"zero_gamma": True},
    "and a constant tail": PLAIN | {"tail": 0.05},
    "and dropout of the largest": PLAIN | {"dropout": 0.2},
    "bignas: all three": {"dropout": 0.2, "tail": 0.05, "zero_gamma": True},
}
COLUMNS = ("recipe", "seed", "smallest", "random", "largest", "cpu_seconds")


def phases(space: SearchSpace, dropout: float, tail: float, zero_gamma: bool) -> Sequence[Phase]:
    """BigNAS's recipe with only these parts."""
    (phase,) = bignas(space)

    def plan(rng: random.Random, done: float) -> list[Any]:
        largest, *others = phase.plan(rng, done)
        return [replace(largest, dropout=dropout), *others]

    return [replace(phase, plan=plan, tail=tail, zero_gamma=zero_gamma)]


def main() -> None:
    """Train what is missing, then print the table."""
    parser = common.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--epochs", type=float, default=6)
    given = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = pixels(given.data)
    part = slice(HELD_OUT, HELD_OUT + given.images)
    data = TrainingData(torch.from_numpy(images[part]), torch.from_numpy(labels[part]), MEAN, STD, Augmentation())
    judging = judging_images(given.data, "cpu", 512, 2000)
    space = load_space(SPACE).with_resolutions([16]).with_classes(10)
    rng = random.Random(1)
    networks = [space.min(), space.max(), *(space.sample(rng) for _ in range(10))]
    done = {(row["recipe"], int(row["seed"])) for row in _rows(given.rows)}
    for seed in range(given.seeds):
        for name, parts in VARIANTS.items():
            if (name, seed) in done:
                continue
            began = time.process_time()
            supernet = Supernet(space, seed=seed)
            if parts["zero_gamma"]:
                supernet.zero_gammas()
            settings = TrainSettings(epochs=given.epochs, seed=seed)
            train(supernet, data, settings, recipe=lambda space, parts=parts: phases(space, **parts))  # type: ignore[misc]
            spent = time.process_time() - began
            smallest, largest, *others = (score.accuracy for score in judge_all(supernet, networks, judging))
            values = (name, seed, *(f"{100 * v:.2f}" for v in (smallest, fmean(others), largest)), f"{spent:.0f}")
            new = not given.rows.exists()
            with given.rows.open("a", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerows(([COLUMNS] if new else []) + [values])
            print(time.strftime("%H:%M:%S"), *values, flush=True)
    rows = _rows(given.rows)
    common.print_table(("", *COLUMNS[2:]), [_line(name, [r for r in rows if r["recipe"] == name]) for name in VARIANTS])


def _line(name: str, rows: Sequence[dict[str, str]]) -> list[str]:
    cells = []
    for column in COLUMNS[2:]:
        values = [float(row[column]) for row in rows]
        each = f" ({', '.join(f'{v:.1f}' for v in values)})" if column != "cpu_seconds" else ""
        cells.append(f"{fmean(values):.1f}{each}")
    return [name, *cells]


def _rows(file: Path) -> list[dict[str, str]]:
    return common.read_rows(file) if file.exists() else []


if __name__ == "__main__":
    main()
