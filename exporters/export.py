"""The way from a trained network to verified files: convert, run, compare, publish."""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from exporters.dependencies import TORCH, require, versions
from exporters.errors import (
    CannotRun,
    ConversionFailed,
    ExportError,
    MissingDependency,
    ParityError,
    UnsupportedOperator,
    WrongInput,
)
from exporters.files import sha256, size_bytes, staging_folder, temporary_files_in
from exporters.isolated import opened
from exporters.parity import accuracy, compare, worst
from exporters.quiet import first_line
from exporters.registry import Exporter, chosen, file_name
from exporters.report import ExportReport, Parity
from exporters.request import (
    Array,
    ExportOptions,
    ExportRequest,
    Metadata,
    Precision,
    Progress,
    Samples,
    Threshold,
)
from exporters.runtime import Runtime
from exporters.stopwatch import CLOCK

if TYPE_CHECKING:
    import torch

DRIFT_IMAGES: Final = 8  # where the file takes any batch size


def export_all(
    network: "torch.nn.Module",
    samples: Samples,
    targets: Sequence[str | Exporter],
    out_dir: Path,
    metadata: Metadata,
    options: ExportOptions | None = None,
    *,
    optional: Collection[str] = (),
    allow_unverified: bool = False,
    progress: Progress | None = None,
) -> list[ExportReport]:
    """Write the network in each of `targets` into `out_dir`, verify every file, and report in that order.

    A target is a known name, or an `Exporter` of one's own.
    `out_dir` gets the files, `reference.safetensors` (inputs and the network's outputs, for `verify`) and
    `export.json`. A target in `optional` whose tool is not installed is reported as "not run"; so is, with
    `allow_unverified`, a file that was converted but has an operator that cannot be executed here.
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

    options = options or ExportOptions()
    copied, network_batch = prepared(network, samples, options.batch)
    with staging_folder(out_dir) as staging, temporary_files_in(staging / "scratch") as scratch:
        request = ExportRequest(copied, samples, metadata, options, scratch, network_batch)
        judge = Judge.of(request, allow_unverified, any(exporter.precision == "fp16" for exporter in exporters))
        reports: list[ExportReport] = []
        errors: list[ExportError] = []
        for number, exporter in enumerate(exporters):
            if progress is not None:
                progress(number, len(exporters), f"export {exporter.target}")
            reports.append(_export(exporter, judge, staging, errors))
        kept = manifest.publish(out_dir, staging, reports, request, judge.expected, judge.thresholds)
    if progress is not None and exporters:
        progress(len(exporters), len(exporters), f"export {exporters[-1].target}")
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
    allow_unverified: bool
    thresholds: Mapping[Precision, Threshold]

    @classmethod
    def of(cls, request: ExportRequest, allow_unverified: bool, half: bool) -> "Judge":
        """Runs the network on all images, once more as if in `half` precision where a target is; WrongInput for labels
        that are not its classes."""
        from exporters.deployed import expected_outputs, run
        from exporters.rounding import half_precision_error

        samples = request.samples
        expected = expected_outputs(request)
        _check_labels(request, classes=expected.shape[1])
        before = None
        if samples.labels is not None:
            before = accuracy(run(request.network, samples.images, request.network_batch), samples.labels)
        thresholds = dict(request.options.thresholds)
        thresholds["fp16"] = thresholds["fp16"].at_error(half_precision_error(request, expected) if half else math.inf)
        return cls(request, request.file_inputs(samples.images), expected, before, allow_unverified, thresholds)

    def parity(self, exporter: Exporter, runtime: Runtime) -> Parity:
        """Of an opened file; a failed one names the layer that drifts first where the runtime can show it."""
        threshold = self.thresholds[exporter.precision]
        outputs, labels = runtime.run(self.inputs), self.request.samples.labels
        parity = compare(self.expected, outputs, labels, self.accuracy_before, threshold, runtime.by)
        if parity.status != "failed":
            return parity
        from exporters.drift import first_drift

        images = self.request.samples.images
        images = np.resize(images, (self.request.options.batch or DRIFT_IMAGES, *images.shape[1:]))
        drift = first_drift(self.request.network, images, runtime.tensors(self.request.file_inputs(images)))
        return replace(parity, first_drift=drift, reason=f"{parity.reason}; {drift}")


def _check_labels(request: ExportRequest, classes: int) -> None:
    names, numbers = request.metadata.labels, request.samples.labels
    if names and len(names) != classes:
        raise WrongInput(f"metadata has {len(names)} labels, the network {classes} classes; one a class, or none")
    if numbers is not None and int(numbers.max()) >= classes:
        raise WrongInput(f"samples.labels reach {numbers.max()}, the network has classes 0 to {classes - 1}")


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
    except (OSError, MemoryError):
        raise  # no room left: the same for every target
    except Exception as error:  # a converter or runtime raises what it likes; the other targets go on
        told = ConversionFailed(f"{exporter.target}: {type(error).__name__}: {first_line(error)}")
        told.__cause__ = error
        errors.append(told)
        return replace(report, parity=Parity("failed", str(told)), seconds=time.perf_counter() - begin)
    return replace(
        report,
        path=name,
        size_bytes=size_bytes(staged),
        sha256=sha256(staged),
        seconds=time.perf_counter() - begin,
        parity=parity,
        latency_ms=latency_ms,
        clock=None if latency_ms is None else CLOCK,
        tool_versions=versions(exporter.needs),
        notes=notes,
    )


def _verified(exporter: Exporter, judge: Judge, staged: Path) -> tuple[Parity, float | None]:
    try:
        runtimes = opened(exporter, staged, ours=True)
        parity = worst([judge.parity(exporter, runtime) for runtime in runtimes])
    except CannotRun as error:
        return Parity("not run", str(error)), None
    except UnsupportedOperator as error:
        if judge.allow_unverified:
            return Parity("not run", f"converted, not executed: {error}"), None
        raise UnsupportedOperator(f"{error}; allow_unverified (--allow-unverified) keeps the file as it is") from error
    if parity.status == "failed":
        return parity, None
    return parity, runtimes[-1].latency_ms(judge.inputs[: judge.request.options.batch or 1])
