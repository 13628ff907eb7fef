"""Sub-supernets: one for each region, warm-started from the parent supernet, trained alike."""

from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.fewshot.partition import Partition
from pipeline.progress import Progress
from pipeline.supernets.compute import device_of
from pipeline.supernets.data import TrainingData
from pipeline.supernets.distributed import is_first
from pipeline.supernets.files import load_supernet, save_supernet
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.steps import EpochEnd
from pipeline.supernets.supernet import Supernet, inherit
from pipeline.supernets.training import OnEpoch, train


def child_file(folder: Path, region: int) -> Path:
    """Where the sub-supernet of `region` lies below `folder`."""
    return folder / str(region) / "supernet.safetensors"


def train_children(
    parent: Supernet,
    partition: Partition,
    data: TrainingData,
    settings: TrainSettings,
    folder: Path,
    progress: Progress | None = None,
    late: int = 1,
    curves: Callable[[int, Path], OnEpoch] | None = None,
) -> None:
    """Write `folder/<k>/supernet.safetensors` for every region k; a child that is there is not trained again.

    Each child inherits exactly what its parent computes on the region, then trains by `settings`, all in the same
    order of images, so that their scores can be compared. `late` above 1 leaves each child with the mean of its
    weights after its last `late` epochs (rankings of single checkpoints vary: Zhang et al. 2020, "Deeper insights
    into weight sharing in neural architecture search", section 4.2). A training that was killed goes on. With 0
    epochs each child is what it inherits. `curves(k, file)` keeps the curve of child k in `file`. Where several
    processes train together, the first one writes.
    """
    for number, region in enumerate(partition.regions):
        file = child_file(folder, number)
        if file.is_file():
            continue
        what = f"sub-supernet {number + 1} of {len(partition.regions)}: images"
        each = min(settings.batch_size, len(data))

        def told(done: int, total: int, _: str, what: str = what, each: int = each) -> None:
            if progress is not None:
                progress(done * each, total * each, what)

        child = inherit(parent, region).to(device_of(parent))
        checkpoint = file.with_name("checkpoint.safetensors")

        curve = None if curves is None else curves(number, file.with_name("curve.jsonl"))

        def keep(end: EpochEnd, file: Path = file, curve: OnEpoch | None = curve) -> None:
            if late > 1 and is_first() and end.epoch.is_integer() and isinstance(end.model, Supernet):
                save_supernet(end.model, file.with_name(f"epoch-{end.epoch:.0f}.safetensors"))
                file.with_name(f"epoch-{end.epoch - late:.0f}.safetensors").unlink(missing_ok=True)
            if curve is not None:
                curve(end)

        if settings.epochs:
            train(child, data, settings, checkpoint, told, keep)
        if not is_first():
            continue
        kept = sorted(file.parent.glob("epoch-*.safetensors"))
        if len(kept) > 1:
            average_weights(child, [load_supernet(path) for path in kept])
        save_supernet(child, file)
        for path in (checkpoint, *kept):
            path.unlink(missing_ok=True)


def load_children(partition: Partition, folder: Path) -> list[Supernet]:
    """The sub-supernets of `train_children` in the order of the regions; WeightsError where one is missing."""
    return [load_supernet(child_file(folder, number)) for number in range(len(partition.regions))]


@torch.no_grad()
def average_weights(into: Supernet, supernets: list[Supernet]) -> None:
    """Set every tensor of `into` to the mean of those of `supernets`, which must have its shapes."""
    states = [supernet.state_dict() for supernet in supernets]
    for name, tensor in into.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.stack([state[name] for state in states]).mean(0))
