"""`pocketnas init`: a commented configuration for a folder of images, after everything that it needs was looked at."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.options import (
    Device,
    Group,
    Json,
    LatencyMs,
    Macs,
    Minutes,
    Params,
    Seed,
    SizeMb,
    Space,
    Start,
    Table,
)
from pipeline.cli.output import emit, note
from pipeline.cli.progress import progress_bar


def init(
    data: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Images: a folder of class folders, Parquet, or owner/name.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The configuration to write.")] = Path("pocketnas.toml"),
    group: Group = None,
    latency_ms: LatencyMs = None,
    macs: Macs = None,
    params: Params = None,
    size_mb: SizeMb = None,
    table: Table = None,
    device: Device = None,
    space: Space = None,
    start: Start = None,
    minutes: Minutes = None,
    seed: Seed = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    as_json: Json = False,
) -> None:
    """Look at images, start, device and budget, and write a commented configuration that runs as it stands."""
    from latency_tables.devices.address import require_plain
    from latency_tables.files import write_atomic
    from pipeline.runs.config import ConfigError
    from pipeline.runs.config_file import read_config
    from pipeline.runs.options import Options
    from pipeline.runs.proposal import propose
    from pipeline.runs.written import configuration_text

    if out.suffix != ".toml":
        raise ConfigError(f"--out {out} is no name of a configuration; it ends in .toml")
    if out.exists() and not force:
        raise ConfigError(f"{out} exists; --force overwrites it")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {str(out.parent)!r}")
    if device is not None and "://" in device:
        require_plain(device, f"{out}: [device] name", ConfigError)
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
