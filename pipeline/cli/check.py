"""`pocketnas check`: does this model still fit this device, and did it get worse?"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipeline.cli.output import emit, note
from pipeline.cli.progress import progress_bar

if TYPE_CHECKING:
    from pipeline.gate.gate import Request
    from pipeline.gate.results import Report


def check(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="MODEL…", help="Model files or run folders; default: the budget's models."),
    ] = None,
    budget: Annotated[Path | None, typer.Option("--budget", help="TOML file with the limits.")] = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", help="Predict latency from this table (file or shipped name).")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option("--device", help="Measure latency here: host, ssh://user@board, adb://serial.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads a network may use on a --device.")] = 1,
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", help="Compare with this baseline file, older model, or folder of older models."),
    ] = None,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write the models as they are now to the --baseline file.")
    ] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write a pull-request comment here.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="Annotate the pull request and append to GitHub's step summary.")
    ] = False,
    rounds: Annotated[
        int, typer.Option("--rounds", min=12, help="Measure at most this often before saying that it cannot decide.")
    ] = 192,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of budget files and do nothing else.")
    ] = False,
) -> None:
    """Check models against a budget, and against what they were: 0 passed, 1 violated, 2 wrong use, 3 cannot decide."""
    from pipeline.gate.budget_document import json_schema
    from pipeline.gate.budget_file import load_budget
    from pipeline.gate.errors import GateError
    from pipeline.gate.gate import run_gate

    if schema:
        emit(json_schema(), True, lambda _: None)
        return
    if budget is None:
        raise GateError("--budget is missing: a TOML file with limits, such as latency_ms = 20")
    if update_baseline and baseline is None:
        raise GateError("--update-baseline writes to the file that --baseline names; it is missing")
    for option, path in (("--junit", junit), ("--markdown", markdown), ("--baseline", baseline)):
        if path is not None and path.is_dir() and (option != "--baseline" or update_baseline):
            raise GateError(f"{option} {str(path)!r} is a folder; give the name of a file")
    request = _request(models or [], table or [], device or [], threads, None if update_baseline else baseline, rounds)
    file = load_budget(budget)
    with progress_bar() as progress:
        report = run_gate(request, file, progress)
    if update_baseline and baseline is not None:
        from pipeline.gate.baseline import write_baseline
        from pipeline.gate.gate import baseline_entries

        write_baseline(baseline, baseline_entries(request, file, baseline.parent))
        note(f"baseline written to {baseline}")
    _write(report, junit, markdown, github)
    emit(report.as_dict(), as_json, lambda console: _render(console, report))
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _request(
    models: list[Path], tables: list[str], devices: list[str], threads: int, baseline: Path | None, rounds: int
) -> "Request":
    from latency_tables.devices.address import shown
    from pipeline.gate.budget_file import Device
    from pipeline.gate.gate import Request
    from pipeline.gate.measure import LookPlan

    looks = tuple(look for look in LookPlan().looks if look < rounds)
    given = [Device(name, table=name) for name in tables]
    given += [Device(shown(name), url=name, threads=threads) for name in devices]
    return Request(tuple(models), LookPlan(looks=(*looks, rounds)), tuple(given), baseline)


def _write(report: "Report", junit: Path | None, markdown: Path | None, github: bool) -> None:
    from latency_tables.files import write_atomic
    from pipeline.gate import reporters

    if junit is not None:
        write_atomic(junit, reporters.junit(report).encode())
    if markdown is not None:
        write_atomic(markdown, reporters.markdown(report).encode())
    if github:
        sys.stderr.write(reporters.annotations(report))
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary:
            with Path(summary).open("a", encoding="utf-8") as stream:
                stream.write(reporters.markdown(report))


def _render(console: Console, report: "Report") -> None:
    from pipeline.gate.reporters import terminal

    console.print(terminal(report))
