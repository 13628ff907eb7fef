"""`pocketnas rank`: how far a proxy can be trusted to order networks."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.output import emit, note


def rank(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="CSV (or .csv.gz) with a header line, one network a line.")
    ],
    truth: Annotated[str, typer.Option(help="Column with what the ranking should follow, for example accuracy.")],
    proxy: Annotated[list[str], typer.Option(help="Column that ranks the networks; repeat for several.")],
    lower: Annotated[list[str] | None, typer.Option(help="Column in which lower is better; repeatable.")] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="Column such as macs: is a proxy biased towards it? Repeatable.")
    ] = None,
    arch: Annotated[str | None, typer.Option(help="Column of architectures: which options are over-rated?")] = None,
    region: Annotated[
        str | None, typer.Option(help="Column, or place in --arch, by which to tell regions apart.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Bootstrap resamples behind the 95 % intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    page: Annotated[Path | None, typer.Option("--html", help="Also write a page with plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare rankings by proxies with the truth: agreement, intervals, baselines and biases."""
    from pipeline.ranking.report import SHOWN, Columns, Question, rank_document, shown, write_page
    from pipeline.ranking.statistics import Bootstrap

    columns = Columns.read(file)
    question = Question(
        truth,
        tuple(dict.fromkeys(proxy)),
        tuple(lower or ()),
        tuple(size or ()),
        arch,
        region,
        Bootstrap(resamples, seed),
    )
    document = rank_document(columns, question)
    for name, entry in document.items():
        if entry["missing"]:
            note(f"{entry['missing']} row(s) without a value of {truth} or {name} are left out")
    if page is not None:
        write_page(page, columns, question, document)
        note(f"page with plots: {page}")

    def render(console: Console) -> None:
        table = Table("", *document, title=f"{file.name}: {truth}, 95 % intervals")
        for label, key in SHOWN:
            table.add_row(label, *(shown(entry, key) for entry in document.values()))
        console.print(table)
        for name, entry in document.items():
            for other, difference in entry["minus"].items():
                if name < other and difference["tau"] is not None:
                    low, high = difference["ci95"] or (difference["tau"],) * 2
                    console.print(f"tau of {name} minus {other}: {difference['tau']:+.3f} [{low:+.3f}, {high:+.3f}]")

    emit(document, as_json, render)
