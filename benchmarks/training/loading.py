"""Pictures that stay encoded: how quickly they are read beside a training step, and what a long list of them costs.

`speed`: images a second of reading and augmenting pictures of 500 x 375 pixels at 224, and of training steps on them,
alone and with one another. `index`: seconds and memory from a folder or a Parquet file of 200,000 pictures to the
first batch.
"""

import io
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow
import torch
from PIL import Image
from pyarrow import parquet

from benchmarks.common import parser, print_table
from pipeline.data.dataset import load_dataset
from pipeline.data.division import divide
from pipeline.data.large import prepare_encoded
from pipeline.data.prepare import prepare, stored_px
from pipeline.data.sources import open_source
from pipeline.spaces.files import load_space
from pipeline.supernets import data as training_data
from pipeline.supernets.augment import Augmentation
from pipeline.supernets.batches import Batches
from pipeline.supernets.data import TrainingData
from pipeline.supernets.network import Network
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import train

SEEN = 224
CLASSES = 100


def photograph(rng: np.random.Generator, width: int, height: int) -> bytes:
    """A JPEG about as large as a photograph of this size."""
    coarse = rng.integers(0, 256, (height // 20, width // 20, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = (smooth + rng.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def training_set(folder: Path, augment: Augmentation) -> TrainingData:
    """The training split in a folder that was prepared."""
    dataset = load_dataset(folder)
    labels = torch.from_numpy(dataset.train.labels)
    return TrainingData(dataset.train.pixels, labels, dataset.mean, dataset.std, augment, dataset.seen_px)


@contextmanager
def reading_processes(count: int) -> Iterator[None]:
    """Encoded pictures are read by so many processes."""
    chosen = training_data.workers_for
    training_data.workers_for = lambda result_bytes: count
    try:
        yield
    finally:
        training_data.workers_for = chosen


def speed(pictures: int, batch: int, steps: int) -> None:
    """Print images a second of reading, of training, and of training on pictures that are read meanwhile."""
    rng = np.random.default_rng(0)
    space = load_space("ofa-mbv3-1.0").with_resolutions([SEEN]).with_classes(4)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number in range(pictures):
            (root / "photos" / str(number % 4)).mkdir(parents=True, exist_ok=True)
            (root / "photos" / str(number % 4) / f"{number}.jpg").write_bytes(photograph(rng, 500, 375))
        division = divide(open_source(str(root / "photos"), None, "image", "label"), 0.1, 0.1, 0)
        size = stored_px(division, SEEN)
        prepare(division, size, root / "arrays", seen_px=SEEN)
        prepare_encoded(division, size, root / "encoded", seen_px=SEEN)
        for augment, kind in ((Augmentation(), "shift and flip"), (Augmentation(crop_area=0.25), "random crops")):
            encoded = training_set(root / "encoded", augment)
            batches = Batches(encoded, batch, seed=0)
            for count in (0, 1, 2):
                with reading_processes(count):
                    began, cpu = time.perf_counter(), time.process_time()
                    read = sum(len(images) for images, _ in batches.following(0, steps * 4))
                    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
                rate = "" if count else f"{read / cpu:.0f}"
                rows.append(
                    [f"reading, {kind}, {f'{count} process(es)' if count else 'here'}", f"{read / wall:.0f}", rate]
                )
        largest = Network(space.blocks(space.max()))
        for model, recipe, told in ((largest, "alone", "largest network"), (Supernet(space), "sandwich", "supernet")):
            for folder, count in (("arrays", 0), ("encoded", 1), ("encoded", 2)):
                data = training_set(root / folder, Augmentation())
                with reading_processes(count):
                    wall, cpu = trained_images(model, data, recipe, batch, steps)
                how = f"encoded, {count} process(es)" if count else "arrays"
                rows.append([f"training the {told}, {how}", f"{wall:.1f}", f"{cpu:.1f}"])
    print_table(["what", "images a second", "images a CPU second of the training process"], rows)


def trained_images(
    model: Network | Supernet, data: TrainingData, recipe: str, batch: int, steps: int
) -> tuple[float, float]:
    """Images of training steps a second, and a second of CPU time; the first step is left out."""
    stamps: list[tuple[float, float]] = []
    epochs = (steps + 1) / (len(data) // batch)
    settings = TrainSettings(recipe=recipe, epochs=epochs, batch_size=batch, lr=0.01)

    def told(done: int, total: int, what: str) -> None:
        stamps.append((time.perf_counter(), time.process_time()))

    train(model, data, settings, None, told)
    images = batch * (len(stamps) - 1)
    return images / (stamps[-1][0] - stamps[0][0]), images / (stamps[-1][1] - stamps[0][1])


def index(entries: int, form: str, root: Path) -> None:
    """Make a set of `entries` pictures in `root`, and print what it takes from there to the first batch of 64."""
    if not (root / "set").exists():
        make_set(entries, form, root / "set")
    child = [sys.executable, "-m", "benchmarks.training.loading", "--child", str(root)]
    sys.stdout.flush()
    subprocess.run(child, check=True)


def make_set(entries: int, form: str, folder: Path) -> None:
    """Distinct pictures of 160 x 120 pixels: a few hundred, each with endings that no decoder reads."""
    rng = np.random.default_rng(0)
    kinds = [photograph(rng, 160, 120) for _ in range(256)]
    if form == "folder":
        for label in range(CLASSES):
            (folder / f"{label:03}").mkdir(parents=True)
        for number in range(entries):
            file = folder / f"{number % CLASSES:03}" / f"{number:06}.jpg"
            file.write_bytes(kinds[number % len(kinds)] + number.to_bytes(8, "little"))
        return
    folder.mkdir(parents=True)
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("image", kind), ("label", pyarrow.int64())])
    with parquet.ParquetWriter(folder / "train.parquet", schema, compression="zstd") as writer:
        for start in range(0, entries, 1000):
            rows = [
                {"image": {"bytes": kinds[n % len(kinds)] + n.to_bytes(8, "little")}, "label": n % CLASSES}
                for n in range(start, min(entries, start + 1000))
            ]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def measured_index(root: Path) -> None:
    """Print the seconds of each part of the way to the first batch, and the largest memory until then."""
    rows, stamp, cpu = [], time.perf_counter(), time.process_time()

    def lap(what: str) -> None:
        nonlocal stamp, cpu
        now, spent, peak = time.perf_counter(), time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows.append([what, f"{now - stamp:.1f}", f"{spent - cpu:.1f}", f"{peak / 1024:.0f}"])
        stamp, cpu = now, spent

    lap("start (imports are done)")
    source = open_source(str(root / "set"), None, "image", "label")
    lap("listing")
    division = divide(source, 0.15, 0.2, 0)
    lap("copies looked for, splits cut")
    prepare_encoded(division, stored_px(division, SEEN), root / "data", seen_px=SEEN)
    lap("1,024 pictures looked at, list written")
    batches = Batches(training_set(root / "data", Augmentation()), 64, seed=0)
    next(iter(batches.following(0, batches.per_epoch)))
    lap("list opened, first batch of 64")
    print_table(["step", "seconds", "of CPU time", "largest memory so far, MB"], rows)


if __name__ == "__main__":
    line = parser(__doc__)
    line.add_argument("what", nargs="?", choices=["speed", "index"], default="speed")
    line.add_argument("--pictures", type=int, default=400)
    line.add_argument("--batch", type=int, default=16)
    line.add_argument("--steps", type=int, default=4)
    line.add_argument("--entries", type=int, default=200_000)
    line.add_argument("--form", choices=["folder", "parquet"], default="folder")
    line.add_argument("--work", type=Path, help="a folder that the made set stays in")
    line.add_argument("--child", type=Path, help="a folder that a set was made in")
    chosen = line.parse_args()
    if chosen.child:
        measured_index(chosen.child)
    elif chosen.what == "speed":
        speed(chosen.pictures, chosen.batch, chosen.steps)
    elif chosen.work:
        index(chosen.entries, chosen.form, chosen.work)
    else:
        with tempfile.TemporaryDirectory() as name:
            index(chosen.entries, chosen.form, Path(name))
