"""The curve of a training as a plain file: one JSON line an epoch, which any notebook reads."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from latency_tables.files import write_atomic
from pipeline.spaces.architecture import Architecture
from pipeline.supernets.distributed import is_first
from pipeline.supernets.evaluate import evaluate, evaluate_inherited
from pipeline.supernets.steps import EpochEnd
from pipeline.supernets.supernet import Supernet

BATCHNORM_IMAGES: Final = 128
JUDGED_IMAGES: Final = 256
_SHARE: Final = 0.025  # of the training's arithmetic, at most, for judging
Images = tuple[Tensor, Tensor, Tensor]  # (m, 3, h, w) for BatchNorm, (n, 3, h, w) to judge on, their labels (n,)


class CurvePoint(BaseModel):
    """One line of the file. `docs/tracking.md` describes the keys.

    `accuracy` (shares of 1) is by the name of the network, None in epochs that judged none.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    schema_version: Literal[1] = 1
    time: float
    epoch: float
    step: int
    loss: float | None
    learning_rate: float
    images_per_second: float | None
    accuracy: dict[str, float] | None


@dataclass
class Curve:
    """Called after each epoch of a training, it leaves a line in `file`.

    Every `every` epochs and at the end a network that is trained alone is judged as it is, and of a supernet each of
    `networks` with inherited weights, on what `images` makes.
    Weights are only read. A training that goes on from its checkpoint continues the file where it is then. In every
    process of a training the same is computed, and the first one writes. `hear` is told of each new point.
    """

    file: Path
    networks: Mapping[str, Architecture]
    images: Callable[[], Images]
    every: int
    images_per_epoch: int
    hear: Callable[[CurvePoint], None] | None = None

    def __post_init__(self) -> None:
        self._before = time.monotonic(), math.nan  # when the last epoch ended, and which

    def __call__(self, end: EpochEnd) -> None:
        """Add the point of the epoch that has ended."""
        began, last = self._before
        seconds, done = time.monotonic() - began, (end.epoch - last) * self.images_per_epoch
        judged = end.last or end.epoch % self.every == 0
        point = CurvePoint(
            time=round(time.time(), 3),
            epoch=round(end.epoch, 4),
            step=end.step,
            loss=round(end.loss, 5) if math.isfinite(end.loss) else None,
            learning_rate=float(f"{end.learning_rate:.6g}"),
            images_per_second=float(f"{done / seconds:.4g}") if done > 0 and seconds > 0 else None,
            accuracy=self._judged(end) if judged else None,
        )
        self._before = time.monotonic(), end.epoch
        if not is_first():
            return
        earlier = [known for known in read_curve(self.file) if known.step < end.step]
        lines = (json.dumps(each.model_dump(mode="json")) for each in (*earlier, point))
        write_atomic(self.file, "".join(f"{line}\n" for line in lines).encode())
        if self.hear is not None:
            self.hear(point)

    def _judged(self, end: EpochEnd) -> dict[str, float] | None:
        end.model.eval()
        bn_images, images, labels = self.images()
        if not isinstance(end.model, Supernet):
            return {"itself": round(evaluate(end.model, images, labels).accuracy, 5)}
        return {
            name: round(evaluate_inherited(end.model, arch, bn_images, images, labels).accuracy, 5)
            for name, arch in self.networks.items()
        }


def read_curve(file: Path) -> list[CurvePoint]:
    """The points of a curve in order; none where there is no file. What is no point is passed over."""
    points = []
    for line in file.read_bytes().splitlines() if file.is_file() else []:
        try:
            points.append(CurvePoint.model_validate_json(line))
        except ValidationError:
            continue
    return points


def judged_every(networks: int, images_per_epoch: int, passes: float) -> int:
    """In how many epochs once `networks` are judged, so that it stays a small share of the training's arithmetic.

    `passes` networks see each image of an epoch; training on an image costs three forward passes.
    """
    judging = networks * (BATCHNORM_IMAGES + JUDGED_IMAGES)
    return max(1, math.ceil(judging / (_SHARE * 3 * passes * images_per_epoch)))
