"""Options that several commands have: each is spelled and explained once."""

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="The run's folder: new, empty, or the same run to continue.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Decides every random choice.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")]
Again = Annotated[bool, typer.Option("--again", help="Run the stage even if it has finished.")]
Renew = Annotated[bool, typer.Option("--again", help="Make every stage anew whose inputs have changed.")]

# Keys of a configuration, as `run` and `init` take them.
Group = Annotated[
    str | None,
    typer.Option("--group", help="Column, or pattern on the file name, of what must stay in one split."),
]
LatencyMs = Annotated[
    float | None, typer.Option("--latency-ms", min=0, help="Milliseconds for one image on the device, at most.")
]
Macs = Annotated[str | None, typer.Option("--macs", help="Multiply-accumulates at most, such as 300M.")]
Params = Annotated[str | None, typer.Option("--params", help="Parameters at most, such as 6M.")]
SizeMb = Annotated[float | None, typer.Option("--size-mb", min=0, help="Megabytes of 32-bit weights, at most.")]
Table = Annotated[
    str | None, typer.Option("--table", help="Latency table of the device, a name or a file, instead of measuring.")
]
Device = Annotated[
    str | None, typer.Option("--device", help="Where blocks are measured: host, ssh://user@board, adb://serial.")
]
Space = Annotated[str | None, typer.Option("--space", help="Preset space, or its TOML file.")]
Start = Annotated[
    str | None, typer.Option("--start", help="Published weights to start from (pocketnas weights list), or none.")
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", min=0.1, help="End in about this time; lengths follow from it.")
]
