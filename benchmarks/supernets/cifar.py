"""A supernet trained on CIFAR-10 and what its networks are worth, against networks trained alone.

    python -m benchmarks.supernets.cifar --data FOLDER --out FOLDER [--epochs 4] [--threads 1]

FOLDER holds `cifar10_train.parquet` and `cifar10_test.parquet` (Hugging Face convention). Trains the space of
examples/spaces/mobile-32px.toml, judges its smallest, its largest and 50 random networks with inherited weights on
the 10,000 test images, then trains 8 of them alone for as many epochs with the same settings. Everything is kept
in `--out` and a second call goes on where the first was stopped; the table shows what there is so far.
"""

import json
import random
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from scipy.stats import kendalltau

from benchmarks import common
from latency_tables.blocks import total_macs
from latency_tables.files import write_json
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import evaluate, evaluate_inherited, refresh_batchnorm
from pipeline.supernets.files import load_supernet, save_supernet
from pipeline.supernets.network import Network
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train

SPACE = Path(__file__).resolve().parents[2] / "examples" / "spaces" / "mobile-32px.toml"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def read_images(file: Path, cache: Path) -> TrainingData:
    """Images (n, 32, 32, 3) and labels of one Parquet file, decoded once into `cache`."""
    if not cache.is_file():
        table = pq.read_table(file)
        jpegs = table.column("image").to_pylist()
        pixels = np.stack([np.asarray(Image.open(BytesIO(jpeg["bytes"])).convert("RGB")) for jpeg in jpegs])
        np.savez(cache, pixels=pixels, labels=table.column("label").to_numpy())
    stored = np.load(cache)
    labels = torch.from_numpy(stored["labels"].astype(np.int64))
    return TrainingData(torch.from_numpy(stored["pixels"]), labels, MEAN, STD, Augmentation())


def networks(space: SearchSpace) -> list[Architecture]:
    """The smallest, the largest and 50 random networks."""
    rng = random.Random(1)
    return [space.min(), space.max(), *(space.sample(rng) for _ in range(50))]


def trained_supernet(space: SearchSpace, data: TrainingData, settings: TrainSettings, out: Path) -> Supernet:
    """The supernet of `out`, trained if it is not there yet."""
    final = out / "supernet.safetensors"
    if not final.is_file():
        supernet = Supernet(space)
        train(supernet, data, settings, out / "supernet_checkpoint.safetensors", _printer("supernet"))
        save_supernet(supernet, final)
    return load_supernet(final)


def accuracy_alone(
    space: SearchSpace, arch: Architecture, data: TrainingData, test: TrainingData, settings: TrainSettings, out: Path
) -> float:
    """Test accuracy of `arch` after training from scratch."""
    network = Network(space.blocks(arch))
    train(network, data, settings, out / f"alone_{arch}.safetensors", _printer(str(arch)))
    refresh_batchnorm(network, data.normalised(torch.arange(2000)))
    return evaluate(network, test.normalised(), test.labels).accuracy


def _printer(what: str) -> Any:
    begin = time.monotonic()

    def show(done: int, total: int, message: str) -> None:
        if done % 100 == 0 or done == total:
            print(f"{what}: step {done} of {total}, {message}, {time.monotonic() - begin:.0f} s", flush=True)

    return show


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    shared = {name: entry["inherited"] for name, entry in results.items() if "inherited" in entry}
    values = np.array(list(shared.values()))
    lines = [
        f"{len(shared)} networks with inherited weights: {values.min():.4f} to {values.max():.4f}, "
        f"mean {values.mean():.4f}",
        "",
        "| network | MACs | inherited | alone |",
        "|---|---|---|---|",
    ]
    both = [entry for entry in results.values() if "alone" in entry]
    for name, entry in results.items():
        if "alone" in entry:
            lines.append(f"| `{name}` | {entry['macs'] / 1e6:.2f}M | {entry['inherited']:.4f} | {entry['alone']:.4f} |")
    if len(both) > 2:
        tau = kendalltau([entry["inherited"] for entry in both], [entry["alone"] for entry in both]).statistic
        by_size = kendalltau([entry["macs"] for entry in both], [entry["alone"] for entry in both]).statistic
        lines += [
            "",
            f"Kendall tau with the accuracy alone, {len(both)} networks: inherited {tau:.3f}, MACs {by_size:.3f}",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    data = read_images(options.data / "cifar10_train.parquet", options.out / "train.npz")
    test = read_images(options.data / "cifar10_test.parquet", options.out / "test.npz")
    space = load_space(SPACE)
    settings = TrainSettings(epochs=options.epochs, lr=0.05, weight_decay=1e-4, grad_clip=5.0)
    supernet = trained_supernet(space, data, settings, options.out)

    file = options.out / "results.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    images, bn_images = test.normalised(), data.normalised(torch.arange(2000))
    for arch in networks(space):
        entry = results.setdefault(str(arch), {"macs": total_macs(space.blocks(arch))})
        if "inherited" not in entry:
            entry["inherited"] = evaluate_inherited(supernet, arch, bn_images, images, test.labels).accuracy
            write_json(file, results)
    print(table(results), flush=True)
    alone = TrainSettings(recipe="alone", epochs=options.epochs, lr=0.05, weight_decay=1e-4, grad_clip=5.0)
    for arch in networks(space)[:8]:
        entry = results[str(arch)]
        if "alone" not in entry:
            entry["alone"] = accuracy_alone(space, arch, data, test, alone, options.out)
            write_json(file, results)
            print(table(results), flush=True)


if __name__ == "__main__":
    main()
