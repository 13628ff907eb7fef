"""Which networks a run's training curves follow, and on what images."""

import random
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.dataset import Dataset
from pipeline.runs.images import normalised
from pipeline.runs.plan import passes_per_step
from pipeline.runs.run import Run
from pipeline.spaces.space import SearchSpace

if TYPE_CHECKING:
    from pipeline.supernets.curve import Curve, CurvePoint, Images


def curve_path(record: Path) -> Path:
    """Where the curve of a network that is trained alone is, by where its record is."""
    return record.with_name(f"{record.stem}.curve.jsonl")


def curve_of_network(run: Run, file: Path, dataset: Dataset) -> "Curve":
    """The curve in `file` of the training of one network alone, which is judged as it is then."""
    from pipeline.supernets.curve import JUDGED_IMAGES, Curve, judged_every

    def images() -> "Images":
        judged, labels = normalised(dataset.search, dataset, JUDGED_IMAGES, run.config.seed)
        return judged[:0], judged, labels  # it has its own BatchNorm statistics

    return Curve(file, {}, images, judged_every(1, len(dataset.train), passes=1), len(dataset.train))


def curve_of(run: Run, file: Path, space: SearchSpace, dataset: Dataset, stage: str, part: str) -> "Curve":
    """The curve in `file` of the training of a supernet of `space`: its largest, smallest and one random network.

    Each point is an event of the run too, as that of a `part` of `stage`.
    """
    from pipeline.supernets.curve import BATCHNORM_IMAGES, JUDGED_IMAGES, Curve, judged_every

    seed = run.config.seed
    networks = {"largest": space.max(), "smallest": space.min(), "random": space.sample(random.Random(seed))}

    def images() -> "Images":
        batchnorm_images, _ = normalised(dataset.train, dataset, BATCHNORM_IMAGES, seed)
        return batchnorm_images, *normalised(dataset.search, dataset, JUDGED_IMAGES, seed)

    def hear(point: "CurvePoint") -> None:
        facts = point.model_dump(mode="json", exclude={"schema_version", "time"})
        run.events.tell("training", stage, part=part, **facts)

    count = len(dataset.train)
    every = judged_every(len(networks), count, passes_per_step(run.config.train.recipe, space))
    return Curve(file, networks, images, every, count, hear)
