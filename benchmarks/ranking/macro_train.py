"""Training steps of the ranking experiments: small images first, resumable, standing aside when asked to."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.ranking.macro_data import OnDevice
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.files import load_supernet, save_supernet
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet, inherit
from pipeline.supernets.training import train


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a training: `images` images at `resolution` pixels, cosine from `lr` to 0."""

    resolution: int
    images: int
    lr: float


@dataclass(frozen=True)
class Trainer:
    """How supernets train: single path, the pilot's settings. `pause_while`: a file during whose life to wait."""

    data: OnDevice
    seed: int
    batch_size: int = 64
    pause_while: Path | None = None

    def run(self, start: Supernet, legs: Sequence[Leg], out: Path) -> Supernet:
        """`start` trained through `legs`, kept in `out`; what is there already is not done again."""
        if out.is_file():
            return load_supernet(out).to(self.data.device)
        model = inherit(start, start.space)  # a copy: others start from the same weights
        for number, leg in enumerate(legs):
            model = at_resolution(model, leg.resolution).to(self.data.device)
            settings = TrainSettings(
                recipe="single-path",
                epochs=leg.images / len(self.data),
                batch_size=self.batch_size,
                lr=leg.lr,
                weight_decay=5e-4,
                label_smoothing=0.0,
                grad_clip=5.0,
                seed=1000 * self.seed + number,
            )
            label = f"{out.stem} leg {number} at {leg.resolution} px"
            train(model, self.data, settings, out.with_suffix(f".{number}.checkpoint"), self._report(label))
        save_supernet(model.cpu(), out)
        for checkpoint in out.parent.glob(f"{out.stem}.*.checkpoint"):
            checkpoint.unlink()
        return model.to(self.data.device)

    def wait(self) -> None:
        """Stand aside while somebody measures."""
        while self.pause_while is not None and self.pause_while.exists():
            time.sleep(2)

    def _report(self, label):  # type: ignore[no-untyped-def]
        def report(done: int, total: int, what: str) -> None:
            self.wait()
            if done % 100 == 0 or done == total:
                print(f"{time.strftime('%H:%M:%S')} {label}: {done}/{total} {what}", flush=True)

        return report


def at_resolution(model: Supernet, resolution: int) -> Supernet:
    """The same weights for images of `resolution` pixels."""
    space = model.space.with_resolutions([resolution])
    if space == model.space:
        return model
    scaled = Supernet(space, model.sharing)
    scaled.load_state_dict(model.state_dict())
    return scaled.train(model.training)


def fresh(space: SearchSpace, seed: int) -> Supernet:
    """A supernet that has learned nothing, in which no two ops share weights."""
    return Supernet(space, "separate", seed)


def one_thread() -> None:
    """The other core belongs to others."""
    torch.set_num_threads(1)
