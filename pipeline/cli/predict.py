"""`pocketnas predict`: pictures classified by an exported file, in its own runtime."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import foreign
from pipeline.cli.output import emit


def predict(
    model: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="An exported file, or a run or folder of some.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Pictures.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Classify pictures with an exported file, executed by its own runtime; the five likeliest classes of each.

    Labels and everything about preparing pictures are read from the file, so that a run's test pictures get the
    answers that its accuracy was counted from. A run's file is the first that was verified, in 32 bits if any was.
    """
    from exporters.stopwatch import CLOCK
    from pipeline.classifier import open_classifier

    classifier = open_classifier(model)
    document: list[dict[str, Any]] = []
    for image in images:
        found = classifier.classify(image)
        top = [{"label": label, "probability": probability} for label, probability in found.top]
        clock = None if found.milliseconds is None else CLOCK
        document.append({"image": str(image), "top": top, "milliseconds": found.milliseconds, "clock": clock})
    title = f"{classifier.file.path}: {classifier.file.runtime.by}"
    emit(document, as_json, lambda console: _render(console, document, title))


def _render(console: Console, document: list[dict[str, Any]], title: str) -> None:
    table = Table(title=Text(foreign.terminal(title)), title_justify="left")
    for heading in ("image", "label", "probability", "here"):
        table.add_column(heading)
    for entry in document:
        milliseconds = entry["milliseconds"]
        here = "-" if milliseconds is None else f"{milliseconds:.2f} ms"
        for place, found in enumerate(entry["top"]):
            first = place == 0
            cells = (
                entry["image"] if first else "",
                found["label"],
                f"{found['probability']:.1%}",
                here if first else "",
            )
            table.add_row(*(Text(foreign.terminal(cell)) for cell in cells))
    console.print(table)
