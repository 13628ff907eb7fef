"""`pocketnas weights`: published weights that a search can start from."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.output import emit, example, note

weights_app = typer.Typer(
    help="Published weights to start from: list them, look at a file, make a supernet of it.", no_args_is_help=True
)

Source = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="A name of 'weights list', a file, or owner/name of the Hugging Face hub."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@weights_app.command("list", epilog=example("weights list"))
def list_weights(as_json: AsJson = False) -> None:
    """Published weights that are known by name, and whether they can be read here and now."""
    from pipeline.weights.catalogue import CATALOGUE

    document: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "space": entry.space,
            "params": entry.params,
            "source": str(entry.source),
            "licence": entry.licence,
            "available": entry.source.available(),
        }
        for entry in CATALOGUE.values()
    ]

    def render(console: Console) -> None:
        table = Table("name", "space", "parameters", "source", "licence", "here")
        for row in document:
            here = "yes" if row["available"] else "no"
            table.add_row(row["name"], row["space"], f"{row['params']:,}", row["source"], row["licence"], here)
        console.print(table)

    emit(document, as_json, render)


@weights_app.command("show", epilog=example("weights show efficientnet-lite0"))
def show(source: Source, as_json: AsJson = False) -> None:
    """What SOURCE holds: whose naming, how many tensors, and the preset space that its network is the base of."""
    from pipeline.weights.sources import open_weights
    from pipeline.weights.start import matching_preset

    weights = open_weights(source)
    network, about = weights.network, weights.provenance
    document: dict[str, Any] = {
        **about.to_document(),
        "tensors": network.tensors,
        "params": network.params,
        "classes": network.classes,
        "elastic": network.elastic,
        "space": matching_preset(network),
    }

    def render(console: Console) -> None:
        for key in ("source", "naming", "tensors", "params", "classes", "space", "licence", "sha256"):
            value = document[key]
            text = f"{value:,}" if isinstance(value, int) else "unknown" if value is None else str(value)
            console.print(f"{key}: {text}", markup=False, soft_wrap=True)

    emit(document, as_json, render)


@weights_app.command(
    "import", epilog=example("weights import efficientnet-lite0 --space efficientnet-lite0 --out lite0.safetensors")
)
def import_weights(
    source: Source,
    space: Annotated[str, typer.Option(help="Preset name or TOML file of the space to fill.")],
    out: Annotated[Path, typer.Option(help="The supernet's file, .safetensors; never overwritten without --force.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is new.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Fill a supernet of a space with published weights; every network of the space can then be taken from it."""
    from pipeline.spaces.files import load_space
    from pipeline.supernets.files import WeightsError
    from pipeline.supernets.supernet import Supernet
    from pipeline.weights.sources import open_weights
    from pipeline.weights.start import save_start, start_supernet

    if out.suffix != ".safetensors":
        raise WeightsError(f"--out {out} is no name of a safetensors file; it ends in .safetensors")
    if out.exists() and not force:
        raise WeightsError(f"{out} exists; --force overwrites it")
    supernet = Supernet(load_space(space), seed=seed)
    start = start_supernet(supernet, open_weights(source))
    save_start(supernet, start, out)
    for text in start.notes:
        note(text)
    document = {
        **start.to_document(),
        "space": supernet.space.name,
        "placed": len(start.placement.placed),
        "new": list(start.placement.new),
        "out": str(out),
    }

    def render(console: Console) -> None:
        console.print(f"{out}: {document['placed']} tensors placed, {len(document['new'])} new", soft_wrap=True)
        base = start.base
        told = "lies outside the space" if base is None else f"is {base}, computed as published"
        console.print(f"{start.weights.provenance.name} {told}", soft_wrap=True)

    emit(document, as_json, render)
