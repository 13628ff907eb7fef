"""Latency of a model as a table predicts it, from the blocks that were recognised in its graph."""

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from latency_tables.blocks import total_macs
from latency_tables.store import load_table, table_text
from latency_tables.table import LatencyTable, MissingRows
from pipeline.gate.errors import CannotMeasure
from pipeline.modelfiles.read import ModelFacts

_OLD_DAYS = 365


@dataclass(frozen=True)
class Table:
    """A latency table and the name it was asked by."""

    name: str
    content: LatencyTable

    @cached_property
    def sha256(self) -> str:
        """Of its canonical text."""
        return hashlib.sha256(table_text(self.content).encode()).hexdigest()

    @property
    def label(self) -> str:
        """The table with what its figures depend on."""
        device = self.content.device
        return f"table {self.name} ({device.runtime} {device.runtime_version}, {self.content.provenance.created[:10]})"


@dataclass(frozen=True, slots=True)
class PredictedMs:
    """Milliseconds with the table's 95 % interval where it has one; remarks on how far it can be trusted."""

    ms: float
    interval: tuple[float, float] | None
    remarks: tuple[str, ...]


def open_table(name: str) -> Table:
    """The shipped table of that name or the one in that file. Raises TableError."""
    content = load_table(name)
    stem = name.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".json")
    # In a run's folder the file is called table.json, whatever it is of.
    return Table(content.device.name if stem == "table" else stem, content)


def predict(model: ModelFacts, table: Table, min_recognised: float) -> PredictedMs:
    """The latency of `model`; CannotMeasure says why there is no prediction that could be trusted.

    Where some of the MACs are in no block, the prediction is scaled up by them and says so.
    """
    found = model.recognised
    if found is None or not found.blocks:
        raise CannotMeasure(f"no blocks are found in this {model.kind}; check its ONNX export or its run")
    precision = table.content.device.precision
    if found.precision != precision:
        raise CannotMeasure(f"the model computes in {found.precision}, the table was measured in {precision}")
    uncounted = "" if not model.uncounted else f" (and {', '.join(model.uncounted)} cannot be counted)"
    if not found.exact and (found.share < min_recognised or uncounted):
        raise CannotMeasure(
            f"{found.share:.1%} of its MACs were recognised as blocks{uncounted}; "
            f"min_recognised is {min_recognised:.1%}, so measure it instead (url of the device)"
        )
    try:
        prediction = table.content.predict(found.blocks)
    except MissingRows as error:
        rows = ", ".join(repr(block.key) for block in error.missing[:3])
        raise CannotMeasure(
            f"the table lacks {len(error.missing)} of its {len(set(found.blocks))} distinct blocks ({rows}, …); "
            "'pocketnas profile' on a space that has them measures them"
        ) from None
    scale = 1.0 if found.exact else 1 / found.share
    if not math.isfinite(prediction.latency_ms) or prediction.latency_ms < 0:
        raise CannotMeasure(f"the table predicts {prediction.latency_ms} ms, which is no time")
    interval = None
    if prediction.low_ms is not None and prediction.high_ms is not None:
        interval = (prediction.low_ms * scale, prediction.high_ms * scale)
    return PredictedMs(prediction.latency_ms * scale, interval, _remarks(model, table))


def _remarks(model: ModelFacts, table: Table) -> tuple[str, ...]:
    found, content = model.recognised, table.content
    remarks = []
    if found is not None and not found.exact:
        known = total_macs(found.blocks)
        remarks.append(f"{found.share:.1%} of the MACs ({known:,}) recognised, the rest added in proportion")
    if found is not None and found.leftover:
        names = ", ".join(f"{n} {name}" for name, n in found.leftover)
        remarks.append(f"not in the prediction: {names}")
    if content.error is None:
        remarks.append("the table's error was never measured")
    version = model.runtime_versions.get(content.device.runtime)
    if version is not None and version != content.device.runtime_version:
        remarks.append(
            f"the model was made for {content.device.runtime} {version}, the table measured with "
            f"{content.device.runtime_version}"
        )
    age = _age_days(content.provenance.created)
    if age is not None and age > _OLD_DAYS:
        remarks.append(f"the table was measured {age} days ago")
    return tuple(remarks)


def _age_days(created: str) -> int | None:
    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return None
    then = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
    return (datetime.now(UTC) - then).days
