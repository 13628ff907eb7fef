"""What is known about a written file: nothing here says "fine" without having run it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from exporters.request import Precision

Status = Literal["passed", "failed", "not run"]


@dataclass(frozen=True, slots=True)
class Parity:
    """The file's outputs against the network's, on `images` real images.

    `by` says what executed the file. Agreement and accuracies are fractions between 0 and 1; the
    accuracies are None without labels, every figure is None where the file was not run.
    """

    status: Status
    reason: str = ""
    by: str = ""
    max_abs_diff: float | None = None
    mean_abs_diff: float | None = None
    top1_agreement: float | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    images: int = 0
    first_drift: str | None = None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """One target of an export. `path` is relative to the export folder; None where nothing was kept.

    `latency_ms` is that of one image (of one batch where the batch is fixed) on this machine by the runtime that
    `parity.by` names, measured by `exporters.stopwatch`, whose clock is `clock`; `predicted_ms` what a latency table
    had said.
    """

    format: str
    precision: Precision
    path: str | None
    size_bytes: int
    sha256: str
    seconds: float
    parity: Parity
    latency_ms: float | None = None
    clock: str | None = None
    predicted_ms: float | None = None
    tool_versions: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self, folder: Path | None = None) -> dict[str, Any]:
        """Plain values for JSON; with `folder`, the path is that of the file below it."""
        document = asdict(self)
        if folder is not None and self.path is not None:
            document["path"] = str(folder / self.path)
        parity = document["parity"]
        for key, value in parity.items():
            if isinstance(value, float) and not math.isfinite(value):
                parity[key] = None
        return document
