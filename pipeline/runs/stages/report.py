"""Stage `report`: one page and one document about everything that the run found."""

from latency_tables.files import write_atomic
from pipeline.progress import Progress
from pipeline.runs.report_data import report_data
from pipeline.runs.run import Run
from pipeline.runs.summary import build_summary


def work(run: Run, progress: Progress) -> None:
    """Leave `report.html`, which needs no network to read, `summary.json`, and what documents the winner."""
    from pipeline.report.page import render_report
    from pipeline.runs.card import document_winner

    progress(0, 1, "write report")
    summary = build_summary(run)
    summary.save(run.folder.summary)
    data = report_data(run, summary)
    document_winner(run, data, summary)
    write_atomic(run.folder.report, render_report(data).encode())
    progress(1, 1, "write report")
