"""Stage `report`: one page and one document about everything that the run found."""

from latency_tables.files import write_atomic
from pipeline.runs.engine import Progress
from pipeline.runs.report_data import report_data
from pipeline.runs.run import Run
from pipeline.runs.summary import build_summary


def work(run: Run, progress: Progress) -> None:
    """Leave `report.html`, which needs no network to read, and `summary.json`."""
    from pipeline.report.page import render_report

    progress(0, 1, "write report")
    summary = build_summary(run)
    summary.save(run.folder.summary)
    write_atomic(run.folder.report, render_report(report_data(run, summary)).encode())
    progress(1, 1, "write report")
