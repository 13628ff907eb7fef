"""Stage `check`: the winner's file through the same gate that a CI uses, with the run's budget and table."""

from latency_tables.files import write_atomic
from latency_tables.table import clock_words
from pipeline.budget import Limit
from pipeline.gate.budget_file import Device, parse_budget
from pipeline.gate.gate import Request, run_gate
from pipeline.gate.measure import LookPlan
from pipeline.gate.reporters import junit
from pipeline.gate.results import CheckResult, Report
from pipeline.progress import Progress
from pipeline.runs.documents.check import CheckFile
from pipeline.runs.documents.export import MeasuredLatency
from pipeline.runs.run import Run


def work(run: Run, progress: Progress) -> None:
    """Leave `check.json` and `junit.xml`; a budget that is violated is a result, not an error."""
    from exporters import manifest

    folder = run.folder
    onnx = next(entry.path for entry in manifest.read(folder.exports).exports if entry.format == run.main_file) or ""
    model = {"path": f"exports/{onnx}", "name": onnx, "metrics": "winner/winner.json"}
    budget = run.budget.to_document()
    # Without a budget of its own a run still shows that its file is what it says it is.
    budget = budget or {"macs": run.winner.macs}
    own = run.table.device.name
    if others := run.limits.other_devices_ms:
        budget = {**budget, "latency_ms": {**run.budget.latency_limits(own), **others}}
    file = parse_budget(budget | {"models": [model]}, str(folder.budget), run.path.resolve())
    tables = {own: folder.table, **{name: folder.other_tables / f"{name}.json" for name in others}}
    devices = tuple(Device(name, table=str(path)) for name, path in tables.items())
    report = run_gate(Request((), LookPlan(), devices), file, progress)
    report = Report((*report.results, *_measured(run, onnx)), report.notes)
    CheckFile(passed=report.passed, checks=list(report.results), notes=list(report.notes)).save(folder.check)
    failed = [result.name for result in report.results if not result.passed]
    run.events.tell("check", "check", passed=report.passed, failed=failed)
    write_atomic(folder.junit, junit(report).encode())


def _measured(run: Run, model: str) -> list[CheckResult]:
    """The measured latency against its limit. It warns only: one visit to a shared machine proves no violation."""
    limit_ms, latency = run.budget.latency_ms, MeasuredLatency.load(run.folder.latency)
    if not isinstance(limit_ms, float) or latency.measured_ms is None:
        return []
    excess = Limit("latency_ms", limit_ms).violation(latency.measured_ms)
    return [
        CheckResult(
            name="latency_ms",
            expected=limit_ms,
            operator="<=",
            actual=latency.measured_ms,
            level="warn",
            status="failed" if excess > 0 else "passed",
            message=f"{latency.measured_ms:.3f} of {limit_ms:g} ms in {len(latency.session_ms)} sessions",
            model=model,
            device=latency.device,
            source=f"measured on {latency.device} ({clock_words(latency.clock)})",
        )
    ]
