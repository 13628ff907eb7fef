"""`pocketnas export`: a run's winner as files that phones run, verified; or such files verified again."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.output import emit
from pipeline.cli.progress import progress_bar
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from exporters import ExportOptions, ExportReport
    from pipeline.runs.folder import RunFolder
    from pipeline.runs.winner import Winner


def export(
    run_dir: Annotated[Path | None, typer.Argument(metavar="RUN", help="The run's folder.")] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Targets, separated by commas: onnx,coreml-fp16,… Default: the run's."),
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option("--verify", help="Verify the files of this export folder (or run) instead; trains nothing."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write here. Default: RUN/exports.")] = None,
    batch: Annotated[str, typer.Option("--batch", help="Images a call: a number, or any.")] = "1",
    softmax: Annotated[bool, typer.Option("--softmax", help="Files return probabilities instead of logits.")] = False,
    pixels: Annotated[
        bool,
        typer.Option("--pixels", help="Files take uint8 NHWC pixels (Core ML: an image) and normalise them."),
    ] = False,
    opset: Annotated[int, typer.Option("--opset", help="ONNX opset, 13 to 20.")] = 17,
    ios: Annotated[int, typer.Option("--ios", help="Oldest iOS that a Core ML file runs on, 15 to 18.")] = 16,
    skip_missing: Annotated[
        bool,
        typer.Option("--skip-missing", help="Report a target whose tool is not installed instead of failing."),
    ] = False,
    allow_unverified: Annotated[
        bool,
        typer.Option("--allow-unverified", help="Keep a converted file that cannot be executed here, as not run."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write the winner of RUN in every target and prove that the files compute what the network computes."""
    if verify is not None and run_dir is None:
        _verify(verify, as_json)
        return
    if run_dir is None or verify is not None:
        raise PipelineError("name a run folder to export, or --verify DIR to verify an export folder, not both")
    from pipeline.runs.engine import require_finished
    from pipeline.runs.run import Run
    from pipeline.runs.stages import STAGES
    from pipeline.runs.stages.export import tell_exports
    from pipeline.runs.winner import load_winner

    run = Run.open(run_dir)
    require_finished(run.folder, STAGES, "export")
    winner = load_winner(run)
    options = _options(winner, batch, softmax, pixels, opset, ios)
    targets = [name.strip() for name in to.split(",")] if to is not None else run.formats
    if out is not None and (out / "run.json").exists():
        raise PipelineError(
            f"--out {out} is a run's folder, not one for files; without --out they go to {run.folder.exports}"
        )
    folder = out or run.folder.exports
    with run.folder.lock():
        reports = _export(winner, targets, folder, options, skip_missing or to is None, allow_unverified)
        if out is None:
            _record(run.folder)
            tell_exports(run, reports)
    _print(reports, folder, as_json)


def _options(winner: "Winner", batch: str, softmax: bool, pixels: bool, opset: int, ios: int) -> "ExportOptions":
    from exporters import ExportOptions, Preprocessing

    if batch != "any" and not batch.isdecimal():
        raise PipelineError(f"--batch {batch!r} is neither a number nor 'any'")
    return ExportOptions(
        batch=None if batch == "any" else int(batch),
        softmax=softmax,
        preprocessing=Preprocessing(winner.mean, winner.std) if pixels else None,
        opset=opset,
        ios=ios,
        predicted_ms=winner.predicted_ms,
    )


def _export(
    winner: "Winner",
    targets: Sequence[str],
    folder: Path,
    options: "ExportOptions",
    skip_missing: bool,
    allow_unverified: bool,
) -> "list[ExportReport]":
    from exporters import Samples, export_all

    with progress_bar() as progress:
        return export_all(
            winner.network,
            Samples(winner.test_images, winner.test_labels, winner.calibration_images),
            targets,
            folder,
            winner.metadata(),
            options,
            optional=targets if skip_missing else (),
            allow_unverified=allow_unverified,
            progress=progress,
        )


def _record(run: "RunFolder") -> None:
    """The run's own record of its export stage holds the files' hashes: renew it where the stage has finished."""
    from pipeline.runs.stages import STAGES

    record = run.record("export")
    if record is None or not record.finished:
        return
    stage = next(stage for stage in STAGES if stage.name == "export")
    run.write_record("export", record.inputs, record.seconds, stage.outputs(run))


def _verify(folder: Path, as_json: bool) -> None:
    from exporters import verify

    inside = folder / "exports"  # of a run, whose folder is as good a name
    folder = inside if (inside / "export.json").is_file() else folder
    with progress_bar() as progress:
        reports = verify(folder, progress=progress)
    _print(reports, folder, as_json)
    statuses = {report.parity.status for report in reports}
    if "failed" in statuses:
        raise typer.Exit(1)
    if "passed" not in statuses:
        raise typer.Exit(3)


def _print(reports: "Sequence[ExportReport]", folder: Path, as_json: bool) -> None:
    def render(console: Console) -> None:
        table = Table(title=str(folder), title_justify="left")
        for heading in ("target", "file", "size", "parity", "largest difference", "top-1 agreement", "here"):
            table.add_column(heading)
        for report in reports:
            table.add_row(*_row(report))
        console.print(table)
        for report in reports:
            if report.parity.reason:
                console.print(f"{report.format}: {report.parity.reason}", markup=False)

    emit([report.as_dict(folder) for report in reports], as_json, render)


def _row(report: "ExportReport") -> tuple[str, ...]:
    parity = report.parity
    return (
        report.format,
        report.path or "-",
        f"{report.size_bytes / 1e6:.2f} MB" if report.path else "-",
        parity.status,
        "-" if parity.max_abs_diff is None else f"{parity.max_abs_diff:.2g}",
        "-" if parity.top1_agreement is None else f"{parity.top1_agreement:.1%}",
        "-" if report.latency_ms is None else f"{report.latency_ms:.2f} ms",
    )
