"""The way from a trained network to verified files: convert, run, compare, publish."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from exporters.dependencies import TORCH, require, versions
from exporters.errors import CannotRun, ExportError, MissingDependency, ParityError
from exporters.files import sha256, size_bytes, staging_folder
from exporters.parity import accuracy, compare, worst
from exporters.registry import Exporter, chosen, file_name
from exporters.report import ExportReport, Parity
from exporters.request import Array, ExportOptions, ExportRequest, Metadata, Progress, Samples
from exporters.runtime import Runtime

if TYPE_CHECKING:
    import torch

DRIFT_IMAGES: Final = 8  # where the file takes any batch size


def export_all(
    network: "torch.nn.Module",
    samples: Samples,
    targets: Sequence[str],
    out_dir: Path,
    metadata: Metadata,
    options: ExportOptions | None = None,
    *,
    optional: Collection[str] = (),
    progress: Progress | None = None,
) -> list[ExportReport]:
    """Write the network in each of `targets` into `out_dir`, verify every file, and report in that order.

    `out_dir` gets the files, `reference.safetensors` (inputs and the network's outputs, for `verify`) and
    `export.json`. A target in `optional` whose tool is not installed is reported as "not run".
    Raises UnknownTarget, MissingDependency, WrongInput or NotWritten with nothing written. A target that cannot
    be converted or fails parity is left out and reported so; the others are kept, and its error is raised
    at the end.
    """
    exporters = chosen(targets)
    require("exporting", [TORCH])
    for exporter in exporters:
        if exporter.target not in optional:
            require(exporter.target, exporter.needs)
    from exporters import manifest
    from exporters.deployed import prepared

    prepared_network = prepared(network, samples)
    with staging_folder(out_dir) as staging:
        (staging / "scratch").mkdir()
        request = ExportRequest(prepared_network, samples, metadata, options or ExportOptions(), staging / "scratch")
        judge = Judge.of(request)
        reports: list[ExportReport] = []
        errors: list[ExportError] = []
        for number, exporter in enumerate(exporters):
            if progress is not None:
                progress(number, len(exporters), f"export {exporter.target}")
            reports.append(_export(exporter, judge, staging, errors))
        kept = manifest.publish(out_dir, staging, reports, request, judge.expected)
    if progress is not None:
        progress(len(exporters), len(exporters), "export")
    if errors:
        raise errors[0]
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """What every file of one request is compared with."""

    request: ExportRequest
    inputs: Array
    expected: Array
    accuracy_before: float | None

    @classmethod
    def of(cls, request: ExportRequest) -> "Judge":
        """Runs the network once on all images."""
        from exporters.deployed import expected_outputs, run

        samples = request.samples
        before = None
        if samples.labels is not None:
            before = accuracy(run(request.network, samples.images), samples.labels)
        return cls(request, request.file_inputs(samples.images), expected_outputs(request), before)

    def parity(self, exporter: Exporter, runtime: Runtime) -> Parity:
        """Of an opened file; a failed one names the layer that drifts first where the runtime can show it."""
        threshold = self.request.options.thresholds[exporter.precision]
        outputs, labels = runtime.run(self.inputs), self.request.samples.labels
        parity = compare(self.expected, outputs, labels, self.accuracy_before, threshold, runtime.by)
        if parity.status != "failed":
            return parity
        from exporters.drift import first_drift

        images = self.request.samples.images
        images = np.resize(images, (self.request.options.batch or DRIFT_IMAGES, *images.shape[1:]))
        drift = first_drift(self.request.network, images, runtime.tensors(self.request.file_inputs(images)))
        return replace(parity, first_drift=drift, reason=f"{parity.reason}; {drift}")


def _export(exporter: Exporter, judge: Judge, staging: Path, errors: list[ExportError]) -> ExportReport:
    """One target's report; its file lies in `staging` only where it may be published."""
    begin = time.perf_counter()
    name = file_name(exporter)
    staged = staging / name
    report = ExportReport(
        format=exporter.target,
        precision=exporter.precision,
        path=None,
        size_bytes=0,
        sha256="",
        seconds=0.0,
        parity=Parity("not run"),
        predicted_ms=judge.request.options.predicted_ms,
    )
    try:
        require(exporter.target, exporter.needs)
        notes = exporter.convert(judge.request, staged)
        parity, latency_ms = _verified(exporter, judge, staged)
        if parity.status == "failed":
            raise ParityError(f"{exporter.target}: {parity.reason}")
    except MissingDependency as error:
        return replace(report, parity=Parity("not run", str(error)))
    except ParityError as error:
        errors.append(error)
        return replace(report, parity=parity, seconds=time.perf_counter() - begin)
    except ExportError as error:
        errors.append(error)
        return replace(report, parity=Parity("failed", str(error)), seconds=time.perf_counter() - begin)
    return replace(
        report,
        path=name,
        size_bytes=size_bytes(staged),
        sha256=sha256(staged),
        seconds=time.perf_counter() - begin,
        parity=parity,
        latency_ms=latency_ms,
        tool_versions=versions(exporter.needs),
        notes=notes,
    )


def _verified(exporter: Exporter, judge: Judge, staged: Path) -> tuple[Parity, float | None]:
    try:
        runtimes = exporter.open(staged)
        parity = worst([judge.parity(exporter, runtime) for runtime in runtimes])
    except CannotRun as error:
        return Parity("not run", str(error)), None
    if parity.status == "failed":
        return parity, None
    return parity, runtimes[-1].latency_ms(judge.inputs[: judge.request.options.batch or 1])
