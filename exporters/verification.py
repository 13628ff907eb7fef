"""Checking an export folder, on any machine and without the network: hashes, then parity again."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from exporters import files
from exporters.dependencies import require
from exporters.errors import CannotRun, ExportError, MissingDependency, RunFailed, UnsupportedOperator, WrongInput
from exporters.isolated import opened
from exporters.parity import accuracy, compare, worst
from exporters.quiet import first_line
from exporters.registry import Exporter, with_own
from exporters.report import ExportReport, Parity
from exporters.request import Array, Progress, Samples, Threshold


def verify(
    out_dir: Path,
    samples: Samples | None = None,
    *,
    progress: Progress | None = None,
    own: Sequence[Exporter] = (),
) -> list[ExportReport]:
    """A fresh report for every export that `out_dir/export.json` lists; `own` are exporters of one's own.

    Parity is that of the stored reference inputs. With `samples` (float images; not for files with folded
    preprocessing) their accuracy after export is measured too. A changed or missing file fails; one that
    this machine cannot run is "not run". Raises WrongInput for a folder that no export wrote.
    """
    from exporters import manifest

    exporters, document = with_own(own), manifest.read(out_dir)
    inputs, expected = manifest.read_reference(out_dir, document.reference_sha256)
    reports = []
    for number, entry in enumerate(document.exports):
        if progress is not None:
            progress(number, len(document.exports), f"verify {entry.format}")
        threshold = document.threshold(entry.precision)
        report = entry.report()
        parity = _parity(exporters.get(report.format), out_dir, report, inputs, expected, threshold, samples)
        # A time belongs to the file that was measured, not to one that is missing or another.
        latency_ms = None if parity.status == "failed" else report.latency_ms
        reports.append(replace(report, parity=parity, latency_ms=latency_ms))
    return reports


def _parity(
    exporter: Exporter | None,
    out_dir: Path,
    report: ExportReport,
    inputs: Array,
    expected: Array,
    threshold: Threshold,
    samples: Samples | None,
) -> Parity:
    if report.path is None or exporter is None:
        reason = report.parity.reason or f"this version has no exporter {report.format!r}"
        return Parity("not run" if exporter is None else report.parity.status, reason)
    path = out_dir / report.path
    if not path.exists():
        return Parity("failed", f"{report.path} is missing")
    found = files.sha256(path)
    if found != report.sha256:
        return Parity("failed", f"{report.path} was changed: its sha256 is {found}, export.json says {report.sha256}")
    try:
        require(report.format, exporter.runs_with)
        runtimes = opened(exporter, path)
        compared = [compare(expected, runtime.run(inputs), None, None, threshold, runtime.by) for runtime in runtimes]
        if samples is None or samples.labels is None:
            return worst(compared)
        if inputs.dtype != samples.images.dtype:
            raise WrongInput("these files take uint8 pixels; verify them without samples")
        after = accuracy(runtimes[-1].run(samples.images), samples.labels)
    except (CannotRun, MissingDependency, UnsupportedOperator) as error:
        return Parity("not run", str(error))
    except RunFailed as error:
        return Parity("failed", str(error))
    except ExportError:
        raise
    except Exception as error:  # an own exporter raises what it likes; the other files are still to be verified
        return Parity("failed", f"{report.path} cannot be executed: {type(error).__name__}: {first_line(error)}")
    return replace(worst(compared), accuracy_before=report.parity.accuracy_before, accuracy_after=after)
