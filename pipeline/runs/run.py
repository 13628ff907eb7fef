"""A run as one object: its folder, its configuration, and what its files say, each read once."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from latency_tables.documents import read_json
from latency_tables.store import load_table
from latency_tables.table import LatencyTable, Precision, read_precision
from pipeline.budget import Budget, read_budget
from pipeline.data.dataset import Dataset, load_dataset
from pipeline.runs.config import ONNX_FILES, Config
from pipeline.runs.documents.base import RunError
from pipeline.runs.documents.finetune import WinnerFile
from pipeline.runs.documents.profile import ResolvedBudget
from pipeline.runs.documents.search import Candidates
from pipeline.runs.documents.train import StartFile
from pipeline.runs.events import Events
from pipeline.runs.folder import STAGE_NAMES, RunFolder, open_run
from pipeline.runs.images import normalised
from pipeline.runs.team import Team
from pipeline.spaces.codes import Codes
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace

# Of a network with inherited weights: more cost as much as what is judged, and reorder next to nothing
# (docs/results/fewshot.md).
JUDGING_BATCHNORM_IMAGES: Final = 256

if TYPE_CHECKING:
    from pipeline.fewshot.partition import Partition
    from pipeline.fewshot.prefix import JudgingImages
    from pipeline.runs.scoring import RunScorer
    from pipeline.search.costs import Costs
    from pipeline.search.pool import FeasibleSpace
    from pipeline.supernets.compute import Compute
    from pipeline.supernets.data import TrainingData
    from pipeline.supernets.supernet import Supernet


class Run:
    """What stages work with. Everything is read when it is first asked for, and kept.

    Only a stage changes files, and only files that no earlier stage reads; `forget` is for when one is made anew.
    """

    def __init__(self, folder: RunFolder, team: Team | None = None) -> None:
        """A run that this process works on alone, or with a `team`."""
        self.folder, self.team = folder, team or Team()
        self.spent_before = 0.0  # seconds of the command before its first stage, in the unit of the run's time

    @classmethod
    def open(cls, path: Path) -> "Run":
        """The run at `path`; RunError where there is none."""
        return cls(open_run(path))

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.folder.path

    @property
    def config(self) -> Config:
        """The run's configuration."""
        return self.folder.config

    def forget(self) -> None:
        """Read everything anew when it is next asked for."""
        kept = self.folder, self.team, self.spent_before
        self.__dict__.clear()
        self.folder, self.team, self.spent_before = kept

    @property
    def events(self) -> Events:
        """What happened in the run; the process that leads it writes."""
        return Events(self.folder.events)

    @property
    def ended(self) -> Literal["finished", "stopped"] | None:
        """How the run has ended so far: its last stage has finished, or the one at hand was stopped; None at work."""
        record = self.folder.record(STAGE_NAMES[-1])
        if record is not None and record.finished:
            return "finished"
        last = self.events.read()[-1:]
        return "stopped" if last and last[0].event == "stage_stopped" else None

    @cached_property
    def unlabelled_space(self) -> SearchSpace:
        """The configured space before the number of classes is known."""
        space = load_space(self.config.space.name)
        resolutions = self.config.space.resolutions
        return space if resolutions is None else space.with_resolutions(resolutions)

    @cached_property
    def space(self) -> SearchSpace:
        """The space that is searched: as configured, with one output per class of the images."""
        return self.unlabelled_space.with_classes(len(self._prepared.classes))

    @cached_property
    def codes(self) -> Codes:
        """The encoding of the space."""
        return Codes(self.space)

    @cached_property
    def _prepared(self) -> Dataset:
        return load_dataset(self.folder.data)

    @property
    def dataset(self) -> Dataset:
        """The prepared images, memory-mapped; after training from published weights with the mean and deviation that
        those expect."""
        start = self.start
        return self._prepared if start is None else replace(self._prepared, mean=start.mean, std=start.std)

    @property
    def start(self) -> StartFile | None:
        """The published weights that training started from; None before it, and for random ones."""
        file = self.folder.start
        return StartFile.load(file) if file.exists() else None

    @cached_property
    def inventory(self) -> dict[str, Any] | None:
        """The account of the images that stage `data` found; None of a run of an older version."""
        found: dict[str, Any] | None = read_json(self.folder.data / "data.json", RunError).get("inventory")
        return found

    @cached_property
    def training_data(self) -> "TrainingData":
        """The training split with the run's augmentation."""
        return self.augmented(self.dataset)

    def augmented(self, dataset: Dataset) -> "TrainingData":
        """The training split of `dataset` with the run's augmentation."""
        import torch

        from pipeline.supernets.augment import Augmentation
        from pipeline.supernets.data import TrainingData

        data = self.config.data
        labels = torch.from_numpy(dataset.train.labels)
        augment = Augmentation(
            data.crop, data.flip, data.colour, data.colour, data.colour, data.crop_area, data.randaugment
        )
        return TrainingData(dataset.train.pixels, labels, dataset.mean, dataset.std, augment, dataset.seen_px)

    @cached_property
    def table(self) -> LatencyTable:
        """The latency table that the run measured or was given."""
        return load_table(self.folder.table)

    @property
    def precision(self) -> Precision:
        """What networks are computed in on the run's device: that of its table."""
        return read_precision(self.table.device.precision)

    @property
    def main_file(self) -> str:
        """The target of the file that is deployed on the device, and that the gate reads."""
        return ONNX_FILES[self.precision]

    @property
    def formats(self) -> list[str]:
        """The targets to export: as configured, with the main file; by default each format in `precision`."""
        suffix = self.main_file.removeprefix("onnx")
        asked = self.config.export.formats
        asked = [f"{name}{suffix}" for name in ("onnx", "coreml", "tensorrt")] if asked is None else asked
        return asked if self.main_file in asked else [self.main_file, *asked]

    @cached_property
    def other_tables(self) -> dict[str, LatencyTable]:
        """The table of each of the run's further devices, by name."""
        return {name: load_table(self.folder.other_tables / f"{name}.json") for name in self.limits.other_devices_ms}

    @cached_property
    def limits(self) -> ResolvedBudget:
        """What stage `profile` made of the configured budget."""
        return ResolvedBudget.load(self.folder.budget)

    @cached_property
    def budget(self) -> Budget:
        """The budget in plain numbers, a quantile of latency already resolved."""
        return read_budget(self.limits.budget, str(self.folder.budget))

    @cached_property
    def costs(self) -> "Costs":
        """Costs and limits of the run's space: what every stage that asks "does it fit?" uses."""
        return costs_on(self.space, self.budget, self.table, self.other_tables, self.limits.other_devices_ms)

    @cached_property
    def feasible(self) -> "FeasibleSpace":
        """The networks inside the budget. Raises InfeasibleBudget where there is none."""
        from pipeline.search.pool import FeasibleSpace

        return FeasibleSpace(self.codes, self.costs, self.costs.ensure_reachable())

    @cached_property
    def partition(self) -> "Partition":
        """The regions of the space."""
        from pipeline.fewshot.partition import Partition

        return Partition.load(self.folder.partition)

    @cached_property
    def compute(self) -> "Compute":
        """Where the run's networks live. Raises PipelineError where that device is not here."""
        from pipeline.supernets.compute import choose

        return choose(self.config.train.device, self.config.train.precision)

    @cached_property
    def supernet(self) -> "Supernet":
        """The one-shot supernet as stage `train` left it."""
        from pipeline.supernets.files import load_supernet

        return self.compute.placed(load_supernet(self.folder.supernet / "supernet.safetensors"))

    @cached_property
    def children(self) -> "list[Supernet]":
        """The sub-supernet of each region."""
        from pipeline.fewshot.children import load_children

        return [self.compute.placed(child) for child in load_children(self.partition, self.folder.children)]

    @cached_property
    def judging(self) -> "JudgingImages":
        """What every architecture of the run is judged on: images for BatchNorm, and those that the score is of."""
        from pipeline.fewshot.prefix import JudgingImages

        dataset, count, seed = self.dataset, self.config.search.images, self.config.seed
        batchnorm_images, _ = normalised(dataset.train, dataset, min(count, JUDGING_BATCHNORM_IMAGES), seed)
        return JudgingImages(batchnorm_images, *normalised(dataset.search, dataset, count, seed))

    @cached_property
    def scorer(self) -> "RunScorer":
        """How networks of the run are judged and ranked."""
        from pipeline.runs.scoring import RunScorer

        return RunScorer(self)

    @property
    def candidates(self) -> Candidates:
        """What stage `search` found."""
        return Candidates.load(self.folder.candidates)

    @property
    def winner(self) -> WinnerFile:
        """What stage `finetune` chose."""
        return WinnerFile.load(self.folder.winner_file)


def costs_on(
    space: SearchSpace,
    budget: Budget,
    table: LatencyTable,
    others: Mapping[str, LatencyTable],
    other_limits: Mapping[str, float],
) -> "Costs":
    """Costs under a budget on the device of `table`, and under `other_limits` (milliseconds) on the others."""
    from pipeline.search.costs import space_costs

    own = table.device.name
    latency_ms = {**budget.latency_limits(own), **other_limits}
    # The gate judges accuracy; it is no cost that is known before training.
    limits = replace(budget, latency_ms=latency_ms or None, accuracy=None)
    return space_costs(space, limits, {own: table, **others}, main_device=own)
