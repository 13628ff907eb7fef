"""`pocketnas specialise` and `pocketnas front`: more answers from a run that is there."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipeline.cli.options import Json, Out, Renew, RunDir, Seed
from pipeline.cli.output import emit
from pipeline.cli.progress import progress_bar
from pipeline.errors import PipelineError


def specialise(
    run_dir: RunDir,
    out: Out,
    latency_ms: Annotated[float | None, typer.Option("--latency-ms", help="Milliseconds for one image.")] = None,
    macs: Annotated[str | None, typer.Option("--macs", help="Multiply-accumulates, such as 80M.")] = None,
    params: Annotated[str | None, typer.Option("--params", help="Parameters, such as 4M.")] = None,
    size_mb: Annotated[float | None, typer.Option("--size-mb", help="Megabytes of 32-bit weights.")] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", help="Several at once, each with a folder below --out: 'latency_ms=5, macs=80M'."),
    ] = None,
    table: Annotated[str | None, typer.Option("--table", help="Latency table of another device.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="Measure this device, as in 'profile'.")] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="Measure the device computing in fp32, fp16 or int8."),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option("--arch", help="Build this network instead of searching: one that 'front' or the report shows."),
    ] = None,
    seed: Seed = None,
    again: Renew = False,
    as_json: Json = False,
) -> None:
    """Search, train, export and check for another budget or device, with the supernet that a run has trained.

    The run is read and never changed; what it judged or trained is not done again. The limits given replace its whole
    budget.
    """
    from pipeline.runs.folder import open_run
    from pipeline.runs.specialise import Wish, folder_name, parse_budget
    from pipeline.runs.specialise import specialise as answer
    from pipeline.runs.summary import render_summary, summary_document

    one = {"latency_ms": latency_ms, "macs": macs, "params": params, "size_mb": size_mb}
    limits = {key: value for key, value in one.items() if value is not None}
    if budget and limits:
        raise typer.BadParameter("give either --budget or single limits such as --latency-ms, not both")
    if budget and arch is not None:
        raise typer.BadParameter("--arch names one network; give its limits singly, without --budget")
    if precision not in (None, "fp32", "fp16", "int8"):
        raise typer.BadParameter(f"--precision {precision!r} is none of fp32, fp16, int8")
    if table is not None and device is not None:
        raise typer.BadParameter("give either --table or --device, not both")
    source = open_run(run_dir)
    asked: dict[str, Any] = {"table": table, "device": device, "seed": seed, "precision": precision}
    if not budget:
        with progress_bar() as progress:
            run, summary = answer(source, out, Wish(limits, **asked, arch=arch), progress, again)
        document = summary_document(run.folder, summary)
        emit(document, as_json, lambda console: render_summary(console, run.folder, summary))
        if not summary.check.passed:
            raise typer.Exit(1)
        return
    wanted = {folder_name(parsed): parsed for parsed in map(parse_budget, budget)}
    if len(wanted) < len(budget):
        raise PipelineError("--budget: two of the budgets are the same; each is answered once")
    found = []
    with progress_bar() as progress:
        for number, (name, parsed) in enumerate(wanted.items(), 1):
            progress.note(f"budget {number} of {len(wanted)}: {name}")
            run, summary = answer(source, out / name, Wish(parsed, **asked), progress, again)
            found.append((name, run, summary))
    _several(out, found, as_json)


def front(run_dir: RunDir, as_json: Json = False) -> None:
    """The networks of a search that no other beats in score at no higher cost, cheapest first.

    The score is what the search ranked by; beside it stands the accuracy with inherited weights, as in the report.
    Build one of them with: pocketnas specialise RUN --out DIR --arch NETWORK
    """
    from pipeline.runs.run import Run

    run = Run.open(run_dir)
    found, accuracies = run.candidates, run.scorer.accuracies()
    by_arch = {entry.arch: entry for entry in found.candidates}
    rows: list[dict[str, Any]] = [
        {"arch": arch, "score": by_arch[arch].score, "inherited_accuracy": accuracies.get(arch), **by_arch[arch].costs}
        for arch in found.front
        if arch in by_arch
    ]

    def render(console: Console) -> None:
        lines = [f"{len(rows)} of {found.evaluations} judged networks, ranked by {found.ranked_by}"]
        lines.append(f"{'score':>8} {'accuracy':>8} {'ms':>8} {'MACs':>12} {'parameters':>11}  network")
        for row in rows:
            accuracy = "" if row["inherited_accuracy"] is None else f"{row['inherited_accuracy']:.4f}"
            costs = f"{row['latency_ms']:8.3f} {row['macs']:12,.0f} {row['params']:11,.0f}"
            lines.append(f"{row['score']:8.4f} {accuracy:>8} {costs}  {row['arch']}")
        # Not a table: names are long, and are copied.
        console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)

    emit(rows, as_json, render)


def _several(out: Path, found: list[Any], as_json: bool) -> None:
    from latency_tables.files import write_atomic
    from pipeline.runs.specialise import render_side_by_side
    from pipeline.runs.summary import summary_document

    page = out / "index.html"
    write_atomic(page, render_side_by_side([(name, summary) for name, _, summary in found]).encode())
    document = {"runs": [{"name": name, **summary_document(run.folder, summary)} for name, run, summary in found]}

    def render(console: Console) -> None:
        for name, _, summary in found:
            winner = summary.winner
            console.print(
                f"{name}: {winner.arch}, test accuracy {winner.accuracy:.4f}, {winner.latency_ms.predicted:.3f} ms,"
                f" {winner.macs:,} MACs, gate {'passed' if summary.check.passed else 'failed'}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
        console.print(f"side by side: {page}", highlight=False, markup=False, soft_wrap=True)

    emit(document, as_json, render)
    if not all(summary.check.passed for _, _, summary in found):
        raise typer.Exit(1)
