"""`pocketnas space`: how large a space is, and what one of its networks costs."""

import dataclasses
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from latency_tables.blocks import Block, total_macs, total_params
from pipeline.cli.output import emit


def space(
    space: Annotated[str, typer.Argument(metavar="SPACE", help="A preset name or a TOML file.")],
    arch: Annotated[
        str | None,
        typer.Argument(metavar="ARCH", help="max, min, base, random:SEED, an architecture, or OFA-style JSON."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show how many networks SPACE has and what they cost, or the blocks of one of them."""
    from pipeline.spaces.cost import AdditiveCost
    from pipeline.spaces.files import load_space
    from pipeline.spaces.named import resolve_architecture

    found = load_space(space)
    if arch is None:
        macs = AdditiveCost(found, lambda block: block.macs)
        params = AdditiveCost(found, lambda block: block.params)
        document: dict[str, Any] = {
            "name": found.name,
            "size": found.size,
            "distinct_blocks": len(found.distinct_blocks()),
            "resolutions": list(found.resolutions),
            "macs": {"min": int(macs.minimum()[0]), "max": int(macs.maximum()[0])},
            "params": {"min": int(params.minimum()[0]), "max": int(params.maximum()[0])},
        }

        def render(console: Console) -> None:
            console.print(f"{found.name}: {found.size:,} networks at {len(found.resolutions)} input size(s)")
            for name in ("macs", "params"):
                low, high = document[name]["min"], document[name]["max"]
                console.print(f"  {name}: {low:,} to {high:,}")
            console.print(f"  a latency table has {document['distinct_blocks']} rows")

        emit(document, as_json, render)
        return
    chosen = resolve_architecture(found, arch)
    blocks = found.blocks(chosen)
    emit(
        {
            "arch": str(chosen),
            "macs": total_macs(blocks),
            "params": total_params(blocks),
            "blocks": [dataclasses.asdict(b) | {"macs": b.macs, "params": b.params} for b in blocks],
        },
        as_json,
        lambda console: console.print(_blocks_table(str(chosen), blocks)),
    )


def _blocks_table(title: str, blocks: tuple[Block, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("block", "MACs", "params"):
        table.add_column(heading, justify="left" if heading == "block" else "right")
    for block in blocks:
        table.add_row(block.key, f"{block.macs:,}", f"{block.params:,}")
    table.add_section()
    table.add_row("all", f"{total_macs(blocks):,}", f"{total_params(blocks):,}")
    return table
