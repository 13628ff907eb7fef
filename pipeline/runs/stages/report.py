"""Stage `report`: one page and one document about everything that the run found."""

from latency_tables.files import write_atomic, write_json
from pipeline.runs.engine import Progress
from pipeline.runs.folder import RunFolder
from pipeline.runs.report_data import report_data
from pipeline.runs.summary import build_summary


def work(run: RunFolder, progress: Progress) -> None:
    """Leave `report.html`, which needs no network to read, and `summary.json`."""
    from pipeline.report.page import render_report

    progress(0, 1, "write report")
    summary = build_summary(run)
    write_json(run.summary, {"schema_version": 1, **summary})
    write_atomic(run.report, render_report(report_data(run, summary)).encode())
    progress(1, 1, "write report")
