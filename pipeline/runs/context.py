"""What several stages read from a run: its space, table, budget, images."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latency_tables.store import load_table
from latency_tables.table import LatencyTable
from pipeline.budget import Budget, read_budget
from pipeline.data.dataset import Dataset, Images, load_dataset
from pipeline.runs.folder import RunFolder, read_json
from pipeline.spaces.files import load_space
from pipeline.spaces.space import SearchSpace

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.search.costs import Costs
    from pipeline.supernets.data import TrainingData


def base_space(run: RunFolder) -> SearchSpace:
    """The configured space before the number of classes is known."""
    space = load_space(run.config.space.name)
    resolutions = run.config.space.resolutions
    return space if resolutions is None else space.with_resolutions(resolutions)


def run_space(run: RunFolder) -> SearchSpace:
    """The space that is searched: as configured, with one output per class of the images."""
    return base_space(run).with_classes(len(read_json(run.data / "data.json")["classes"]))


def run_table(run: RunFolder) -> LatencyTable:
    """The latency table that the run measured or was given."""
    return load_table(run.table)


def run_budget(run: RunFolder) -> Budget:
    """The budget in plain numbers, a quantile of latency already resolved."""
    return read_budget(read_json(run.budget)["budget"], str(run.budget))


def run_costs(run: RunFolder) -> "Costs":
    """Costs and limits of the run's space: what every stage that asks "does it fit?" uses."""
    others = {name: load_table(file) for name, file in other_tables(run).items()}
    return costs_on(run_space(run), run_budget(run), run_table(run), others, other_limits(run))


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


def other_tables(run: RunFolder) -> dict[str, Path]:
    """The table of each of the run's further devices, by name."""
    return {name: run.other_tables / f"{name}.json" for name in other_limits(run)}


def other_limits(run: RunFolder) -> dict[str, float]:
    """The milliseconds that each of the run's further devices allows, by name."""
    limits: dict[str, float] = read_json(run.budget).get("other_devices_ms", {})
    return limits


def run_dataset(run: RunFolder) -> Dataset:
    """The prepared images; after training from published weights with the mean and deviation that those expect."""
    dataset = load_dataset(run.data)
    if not run.start.exists():
        return dataset
    start = read_json(run.start)
    return replace(dataset, mean=tuple(start["mean"]), std=tuple(start["std"]))


def training_data(run: RunFolder, dataset: Dataset) -> "TrainingData":
    """The training split with the run's augmentation."""
    import torch

    from pipeline.supernets.augment import Augmentation
    from pipeline.supernets.data import TrainingData

    return TrainingData(
        images=dataset.train.pixels,
        labels=torch.from_numpy(dataset.train.labels),
        mean=dataset.mean,
        std=dataset.std,
        augment=Augmentation(shift=run.config.data.crop, flip=run.config.data.flip),
    )


def normalised_images(images: Images, dataset: Dataset, limit: int | None, seed: int) -> "tuple[Tensor, Tensor]":
    """Float images (n, 3, size, size) of one split as networks take them, and labels (n,).

    `limit` takes that many at random, always the same ones for a seed.
    """
    import numpy as np
    import torch

    from pipeline.supernets.augment import Augmentation
    from pipeline.supernets.data import TrainingData

    data = TrainingData(images.pixels, torch.from_numpy(images.labels), dataset.mean, dataset.std, Augmentation())
    order = np.random.default_rng(seed).permutation(len(images))[:limit]
    chosen = torch.from_numpy(np.sort(order))
    return data.normalised(chosen), data.labels[chosen]
