"""`pocketnas compress`: a run's winner with fewer channels."""

from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.options import Json, RunDir
from pipeline.cli.options import Out as OutFolder
from pipeline.cli.output import emit
from pipeline.cli.progress import progress_bar


def compress(
    run_dir: RunDir,
    out: OutFolder,
    latency_ms: Annotated[
        float | None, typer.Option("--latency-ms", help="Milliseconds, measured on the run's device.")
    ] = None,
    macs: Annotated[str | None, typer.Option("--macs", help="Multiply-accumulates, such as 80M.")] = None,
    params: Annotated[str | None, typer.Option("--params", help="Parameters, such as 4M.")] = None,
    size_mb: Annotated[float | None, typer.Option("--size-mb", help="Megabytes of 32-bit weights.")] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes to weigh channels, and as many after.")] = 5,
    as_json: Json = False,
) -> None:
    """Take channels out of a run's winner until it is inside a limit, train it on and export it.

    Channels go in groups of 8, those first that the training images give least evidence for. The run is not changed.
    """
    from pipeline.budget import read_budget
    from pipeline.runs.compressing import compress_winner
    from pipeline.runs.run import Run

    given = {"latency_ms": latency_ms, "macs": macs, "params": params, "size_mb": size_mb}
    budget = read_budget({key: value for key, value in given.items() if value is not None}, "the command line")
    with progress_bar() as progress:
        found = compress_winner(Run.open(run_dir), budget.limits(), epochs, out, progress)

    def show(console: Console) -> None:
        for name, (before, after) in (("MACs", found.macs), ("parameters", found.params)):
            console.print(f"{name}: {before:,} -> {after:,} ({after / before:.0%})", highlight=False)
        console.print(f"test accuracy: {found.accuracy[0]:.4f} -> {found.accuracy[1]:.4f}", highlight=False)
        for path in found.exports:
            console.print(path, highlight=False, markup=False, soft_wrap=True)

    emit(found.model_dump(mode="json"), as_json, show)
