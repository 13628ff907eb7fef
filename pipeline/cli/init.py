"""`pocketnas init`: a commented configuration for a folder of images, after everything that it needs was looked at."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.output import emit, note
from pipeline.cli.progress import progress_bar
from pipeline.cli.run import Json, Seed


def init(
    data: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Images: a folder of class folders, Parquet, or owner/name.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The configuration to write.")] = Path("pocketnas.toml"),
    group: Annotated[
        str | None,
        typer.Option("--group", help="Column, or pattern on the file name, of what must stay in one split."),
    ] = None,
    latency_ms: Annotated[
        float | None, typer.Option("--latency-ms", min=0, help="Milliseconds for one image on the device, at most.")
    ] = None,
    macs: Annotated[str | None, typer.Option("--macs", help="Multiply-accumulates at most, such as 300M.")] = None,
    params: Annotated[str | None, typer.Option("--params", help="Parameters at most, such as 6M.")] = None,
    size_mb: Annotated[
        float | None, typer.Option("--size-mb", min=0, help="Megabytes of 32-bit weights, at most.")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", help="Latency table of the device, a name or a file, instead of measuring.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Where blocks are measured: host, ssh://user@board, adb://serial.")
    ] = None,
    space: Annotated[str | None, typer.Option("--space", help="Preset space, or its TOML file.")] = None,
    start: Annotated[
        str | None, typer.Option("--start", help="Published weights to start from (pocketnas weights list), or none.")
    ] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.1, help="How long the run may take.")] = None,
    seed: Seed = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Json = False,
) -> None:
    """Look at images, start, device and budget, and write a commented configuration that runs as it stands."""
    from latency_tables.files import write_atomic
    from pipeline.runs.config import ConfigError, read_config
    from pipeline.runs.options import Options
    from pipeline.runs.proposal import propose
    from pipeline.runs.written import configuration_text

    if out.suffix != ".toml":
        raise ConfigError(f"--out {out} is no name of a configuration; it ends in .toml")
    if out.exists() and not force:
        raise ConfigError(f"{out} exists; --force overwrites it")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {str(out.parent)!r}")
    options = Options(data, group, space, device, table, latency_ms, macs, params, size_mb, start, minutes, seed)
    with progress_bar() as progress:
        proposal = propose(options, progress)
    write_atomic(out, configuration_text(proposal, out).encode())
    config = read_config(out)
    command = shlex.join(["pocketnas", "run", str(out), "--out", f"runs/{out.stem}"])
    document = {
        "config": str(out),
        "run": command,
        "checks": [{"name": c.name, "status": c.status, "message": c.message} for c in proposal.checks],
        "minutes": config.train.minutes,
        "cpu_minutes": config.train.cpu_minutes,
    }

    def render(console: Console) -> None:
        for check in proposal.checks:
            note(f"{'ok  ' if check.status == 'ok' else 'look'} {check.name}: {check.message}")
        console.print(f"{out} is written; next:\n{command}", markup=False, highlight=False, soft_wrap=True)

    emit(document, as_json, render)
