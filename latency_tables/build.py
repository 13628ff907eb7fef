"""A table from measurements: rows, the calibration that whole networks give, and its error on others."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from latency_tables.accuracy import error_report
from latency_tables.blocks import Block
from latency_tables.calibration import MeasuredNetwork, calibrate
from latency_tables.devices.runner import Runner
from latency_tables.errors import TableError
from latency_tables.measure import MeasureOptions, Progress, measure_models
from latency_tables.onnx_models import NamedModel, block_model
from latency_tables.samples import Samples
from latency_tables.store import save_table
from latency_tables.table import Calibration, DeviceInfo, ErrorReport, LatencyTable, Provenance, Row


@dataclass(frozen=True, slots=True)
class ProfilePlan:
    """What a table is made from: the blocks of its rows, networks to fit the calibration on, and others,
    that the fit never sees, to report the error on."""

    blocks: tuple[Block, ...]
    calibration: tuple[NamedModel, ...]
    held_out: tuple[NamedModel, ...]
    space: str = ""
    space_sha256: str = ""

    def __post_init__(self) -> None:
        if not self.blocks:
            raise TableError("a table needs at least one block to measure")
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise TableError("two networks of a plan have the same name; a held-out network may not be fitted on")

    @property
    def models(self) -> tuple[NamedModel, ...]:
        """Everything that is timed."""
        return (*map(block_model, self.blocks), *self.calibration, *self.held_out)


def measure_table(
    plan: ProfilePlan, runner: Runner, out: Path, options: MeasureOptions, progress: Progress | None = None
) -> LatencyTable:
    """Measure `plan` on `runner`'s device and write the table to `out`.

    A journal beside `out` lets a stopped measurement continue; it is removed when the table is written.
    Raises MeasurementError where the device is lost, TableError where the journal is of something else.
    """
    journal = journal_path(out)
    device, samples = measure_models(plan.models, runner, journal, options, progress)
    table = assemble(plan, device, samples, options, "measured")
    save_table(table, out)
    journal.unlink(missing_ok=True)
    return table


def journal_path(out: Path) -> Path:
    """Where the measurement of the table `out` keeps what it has so far."""
    return out.with_name(out.name + ".journal")


def assemble(
    plan: ProfilePlan,
    device: DeviceInfo,
    samples: Samples,
    options: MeasureOptions,
    source: str,
    method: str | None = None,
) -> LatencyTable:
    """The table that `samples` of all models of `plan` give; `method` forces a calibration method."""
    rows_ms = {block: samples.median_ms(block.key) for block in plan.blocks}
    fitted = calibrate(rows_ms, _measured(plan.calibration, samples), method)
    held_out = _measured(plan.held_out, samples)
    predicted = [fitted.fixed_ms + sum(fitted.network_ms[b] for b in network.blocks) for network in held_out]
    error = error_report(predicted, [n.latency_ms for n in held_out]) if len(held_out) > 1 else None
    rows = {
        block.key: Row(
            median_ms=_significant(rows_ms[block]),
            network_ms=_significant(fitted.network_ms[block]),
            spread_percent=round(samples.spread_percent(block.key), 2),
            samples=samples.runs[block.key],
            sessions=len(samples.sessions_ms[block.key]),
            unstable=samples.spread_percent(block.key) > options.unstable_percent,
        )
        for block in plan.blocks
    }
    return LatencyTable(
        device=device,
        calibration=Calibration(
            method=fitted.method,
            networks=len(plan.calibration),
            fixed_ms=_significant(fitted.fixed_ms),
            terms={name: _significant(value) for name, value in fitted.terms.items()},
        ),
        error=None if error is None else _rounded(error),
        provenance=provenance_now(
            source,
            space=plan.space,
            space_sha256=plan.space_sha256,
            protocol=options.settings(),
            drift_percent=round(samples.drift_percent, 2),
            sentinel_ms=_significant(samples.sentinel_ms),
            batches_repeated=samples.batches_repeated,
        ),
        rows=rows,
    )


def provenance_now(source: str, **more: Any) -> Provenance:
    """The provenance of a table made now by this program; `more` are further fields of it."""
    try:
        tool = f"pocketnas {metadata.version('pocketnas')}"
    except metadata.PackageNotFoundError:
        tool = "pocketnas (not installed)"
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return Provenance(created=created, tool=tool, source=source, **more)


def _measured(models: Sequence[NamedModel], samples: Samples) -> list[MeasuredNetwork]:
    return [MeasuredNetwork(model.blocks, samples.median_ms(model.name)) for model in models]


def _significant(value: float) -> float:
    """Six digits: more than any clock gives, and files that diff well."""
    return float(f"{value:.6g}")


def _rounded(error: ErrorReport) -> ErrorReport:
    figures = {name: _significant(value) for name, value in error if isinstance(value, float)}
    return error.model_copy(update=figures)
