"""Stage `check`: the winner's file through the same gate that a CI uses, with the run's budget and table."""

from latency_tables.files import write_atomic, write_json
from pipeline.budget import Limit
from pipeline.gate.budget_file import Device, parse_budget
from pipeline.gate.gate import Request, run_gate
from pipeline.gate.measure import Plan
from pipeline.gate.reporters import junit
from pipeline.gate.results import CheckResult, Report
from pipeline.runs.context import other_limits, other_tables, run_budget, run_table
from pipeline.runs.engine import Progress
from pipeline.runs.folder import RunFolder, read_json


def work(run: RunFolder, progress: Progress) -> None:
    """Leave `check.json` and `junit.xml`; a budget that is violated is a result, not an error."""
    exports = read_json(run.exports / "export.json")["exports"]
    onnx = next(export["path"] for export in exports if export["format"] == "onnx")
    model = {"path": f"exports/{onnx}", "name": onnx, "metrics": "winner/winner.json"}
    budget = run_budget(run).to_document()
    # Without a budget of its own a run still shows that its file is what it says it is.
    budget = budget or {"macs": read_json(run.winner / "winner.json")["macs"]}
    own = run_table(run).device.name
    if others := other_limits(run):
        budget = {**budget, "latency_ms": {**run_budget(run).latency_limits(own), **others}}
    file = parse_budget(budget | {"models": [model]}, str(run.budget), run.path.resolve())
    tables = {own: run.table, **other_tables(run)}
    devices = tuple(Device(name, table=str(path)) for name, path in tables.items())
    report = run_gate(Request((), Plan(), devices), file, progress)
    report = Report((*report.results, *_measured(run, onnx)), report.notes)
    write_json(run.check, {"schema_version": 1, **report.as_dict()})
    write_atomic(run.junit, junit(report).encode())


def _measured(run: RunFolder, model: str) -> list[CheckResult]:
    """The measured latency against its limit. It warns only: one visit to a shared machine proves no violation."""
    limit_ms, latency = run_budget(run).latency_ms, read_json(run.latency)
    if not isinstance(limit_ms, float) or latency["measured_ms"] is None:
        return []
    excess = Limit("latency_ms", limit_ms).violation(latency["measured_ms"])
    return [
        CheckResult(
            name="latency_ms",
            expected=limit_ms,
            operator="<=",
            actual=latency["measured_ms"],
            level="warn",
            status="failed" if excess > 0 else "passed",
            message=f"{latency['measured_ms']:.3f} of {limit_ms:g} ms in {len(latency['session_ms'])} sessions",
            model=model,
            device=latency["device"],
            source=f"measured on {latency['device']}",
        )
    ]
