"""From a search space to its latency table on a device, and from a table to the latencies of its networks."""

import hashlib
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from latency_tables.accuracy import error_report
from latency_tables.blocks import Block
from latency_tables.build import ProfilePlan, journal_path, measure_table
from latency_tables.calibration import MeasuredNetwork
from latency_tables.devices.runner import Runner
from latency_tables.errors import TableError
from latency_tables.measure import MeasureOptions, Progress, measure_models
from latency_tables.onnx_models import NamedModel
from latency_tables.store import save_table
from latency_tables.table import ErrorReport, LatencyTable
from latency_tables.table_transfer import TableTransfer
from latency_tables.texts import parse_number, read_csv
from pipeline.errors import PipelineError
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.cost import AdditiveCost
from pipeline.spaces.files import space_to_dict
from pipeline.spaces.named import resolve_architecture
from pipeline.spaces.space import SearchSpace

CLASSES: Final = (2, 10, 100, 1000)


@dataclass(frozen=True, slots=True)
class ProfileOptions:
    """How many whole networks are measured beside the blocks, and how everything is measured."""

    calibration: int = 200
    held_out: int = 100
    seed: int = 0
    measure: MeasureOptions = field(default_factory=MeasureOptions)


def profile_space(
    space: SearchSpace,
    runner: Runner,
    out: Path,
    options: ProfileOptions = ProfileOptions(),
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure the distinct blocks of `space` and random networks of it, and write the calibrated table to `out`."""
    return measure_table(profile_plan(space, options), runner, out, options.measure, progress)


def profile_by_transfer(
    space: SearchSpace,
    runner: Runner,
    out: Path,
    sources: Sequence[LatencyTable],
    options: ProfileOptions,
    progress: Progress | None = None,
) -> LatencyTable:
    """A table of `runner`'s device from tables of others and `options.calibration` whole networks measured on it.

    The networks are those, among 1,000 random ones, that tell most; `options.held_out` random ones tell the
    error. Raises MissingRows where a source lacks blocks of `space`.
    """
    archs = random_networks(space, 1000 + options.held_out, random.Random(options.seed))
    held_out, archs = archs[: options.held_out], archs[options.held_out :]
    transfer = TableTransfer(tuple(sources), tuple(space.blocks(arch) for arch in archs))
    chosen = transfer.choose(options.calibration, np.random.default_rng(options.seed))
    models = [_model(space, arch) for arch in (*(archs[index] for index in chosen), *held_out)]
    journal = journal_path(out)
    device, samples = measure_models(models, runner, journal, options.measure, progress)
    judging = [MeasuredNetwork(space.blocks(arch), samples.median_ms(str(arch))) for arch in held_out]
    table = transfer.table(chosen, [samples.median_ms(str(archs[index])) for index in chosen], device, judging)
    save_table(table, out)
    journal.unlink(missing_ok=True)
    return table


def table_blocks(space: SearchSpace) -> tuple[Block, ...]:
    """The blocks whose rows a table of `space` has: its own, and classifiers of other numbers of classes, between
    which one for the classes of somebody's images can be interpolated."""
    others = (space.with_classes(classes) for classes in CLASSES)
    linear = (block for other in others for block in other.distinct_blocks() if block.kind == "linear")
    return tuple(dict.fromkeys((*space.distinct_blocks(), *linear)))


def profile_plan(space: SearchSpace, options: ProfileOptions = ProfileOptions()) -> ProfilePlan:
    """The blocks and the random networks that a table of `space` is made from; the same for the same seed."""
    networks = random_networks(space, options.calibration + options.held_out, random.Random(options.seed))
    # A space with fewer networks than asked for is shared out in the same proportion.
    fitted = round(len(networks) * options.calibration / max(1, options.calibration + options.held_out))
    return ProfilePlan(
        blocks=table_blocks(space),
        calibration=tuple(_model(space, arch) for arch in networks[:fitted]),
        held_out=tuple(_model(space, arch) for arch in networks[fitted:]),
        space=space.name,
        space_sha256=space_sha256(space),
    )


def space_sha256(space: SearchSpace) -> str:
    """Identifies a space by everything that it consists of."""
    return hashlib.sha256(json.dumps(space_to_dict(space), sort_keys=True).encode()).hexdigest()


def random_networks(space: SearchSpace, n: int, rng: random.Random) -> list[Architecture]:
    """Up to `n` different networks: in turn one uniform over networks (most are deep) and one over genes (of all
    depths), as searches draw them."""
    found: dict[Architecture, None] = {}
    for _ in range(20 * n):
        if len(found) >= min(n, space.size):
            break
        draw = space.sample_genes if len(found) % 2 else space.sample
        found.setdefault(draw(rng))
    return list(found)


def latency_cost(table: LatencyTable, space: SearchSpace) -> AdditiveCost:
    """The table as a cost over encoded networks of `space`: a million and more of them a second."""
    return AdditiveCost(space, table.block_ms, table.fixed_ms)


def _model(space: SearchSpace, arch: Architecture) -> NamedModel:
    return NamedModel(str(arch), space.blocks(arch))


def read_networks(path: Path, space: SearchSpace) -> list[MeasuredNetwork]:
    """Whole networks that somebody measured: a CSV with a header and the columns `arch` and `ms`.

    Raises TableError naming the line that is wrong.
    """
    table = read_csv(path, TableError)
    if not {"arch", "ms"} <= set(table.header):
        raise TableError(f"{path} needs the columns arch and ms; it has {', '.join(table.header)}")
    return [_measured(row, space, f"{path}, line {line}", table.decimal_comma) for line, row in table.records()]


def _measured(row: dict[str, str], space: SearchSpace, where: str, decimal_comma: bool) -> MeasuredNetwork:
    try:
        latency_ms = parse_number(row["ms"], decimal_comma)
    except ValueError:
        latency_ms = 0.0
    if not 0 < latency_ms < float("inf"):
        raise TableError(f"{where}: {row['ms']!r} is not a latency in milliseconds")
    try:
        return MeasuredNetwork(space.blocks(resolve_architecture(space, row["arch"])), latency_ms)
    except PipelineError as error:
        raise TableError(f"{where}: {error}") from None


@dataclass(frozen=True, slots=True)
class Validation:
    """Networks measured now against a table: their error, the worst of them (network, predicted and measured ms),
    the share inside the predicted interval, in what the device differs from the table's, and how much slower than
    then its sentinel network is now, in percent (0 where the table does not tell)."""

    error: ErrorReport
    worst: tuple[Architecture, float, float]
    in_interval: float | None
    device_differs: str
    slower_percent: float


def validate_table(
    table: LatencyTable,
    space: SearchSpace,
    archs: Sequence[Architecture],
    runner: Runner,
    options: MeasureOptions,
    progress: Progress | None = None,
) -> Validation:
    """Measure `archs` on `runner`'s device and compare them with `table`. Raises MissingRows, MeasurementError."""
    predictions = [table.predict(space.blocks(arch)) for arch in archs]
    with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder:
        models = [_model(space, arch) for arch in archs]
        device, samples = measure_models(models, runner, Path(folder) / "journal", options, progress)
    measured = [samples.median_ms(str(arch)) for arch in archs]
    predicted = [prediction.latency_ms for prediction in predictions]
    off = [abs(p - m) / m for p, m in zip(predicted, measured, strict=True)]
    worst = off.index(max(off))
    inside = [
        prediction.low_ms <= milliseconds <= prediction.high_ms
        for prediction, milliseconds in zip(predictions, measured, strict=True)
        if prediction.low_ms is not None and prediction.high_ms is not None
    ]
    return Validation(
        error_report(predicted, measured),
        (archs[worst], predicted[worst], measured[worst]),
        sum(inside) / len(inside) if inside else None,
        table.device.differences(device),
        100 * (samples.sentinel_ms / table.provenance.sentinel_ms - 1) if table.provenance.sentinel_ms else 0.0,
    )
