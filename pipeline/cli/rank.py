"""`pocketnas rank`: how far a proxy can be trusted to order networks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.output import emit, note

if TYPE_CHECKING:
    from pipeline.ranking.report import Columns, Question
    from pipeline.ranking.statistics import Bootstrap

_Answer = tuple["Columns", "Question", dict[str, Any]]


def rank(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.csv|RUN", help="CSV (or .csv.gz) with a header and a network a line; or a run."),
    ],
    truth: Annotated[
        str,
        typer.Option(help="Column that the ranking should follow; of a run, how many networks to train to the end."),
    ],
    proxy: Annotated[list[str] | None, typer.Option(help="Column that ranks the networks; repeat for several.")] = None,
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
    """Compare rankings by proxies with the truth: agreement, intervals, baselines and biases.

    Of a run: its scores of random networks inside its budget, with what these reach when they are trained to the end.
    """
    from pipeline.ranking.report import Columns, Question, rank_document, write_page
    from pipeline.ranking.statistics import Bootstrap

    bootstrap = Bootstrap(resamples, seed)
    if file.is_dir():
        columned = {"--proxy": proxy, "--lower": lower, "--size": size, "--arch": arch, "--region": region}
        columns, question, document = _of_a_run(file, truth, columned, bootstrap)
    else:
        columns = Columns.read(file)
        named = tuple(dict.fromkeys(proxy or ()))
        question = Question(truth, named, tuple(lower or ()), tuple(size or ()), arch, region, bootstrap)
        document = rank_document(columns, question)
    for name, entry in document.items():
        if entry["missing"]:
            note(f"{entry['missing']} row(s) without a value of {question.truth} or {name} are left out")
    emit(document, as_json, lambda console: _render(console, f"{file.name}: {question.truth}", document))
    if page is not None:  # last: what cannot be written must not cost what was found
        write_page(page, columns, question, document)
        note(f"page with plots: {page}")


def _of_a_run(path: Path, truth: str, columned: dict[str, Any], bootstrap: "Bootstrap") -> _Answer:
    """Train what is missing of the truth, judge the networks, and compare."""
    from pipeline.cli.progress import progress_bar
    from pipeline.runs.ranking import RunRanking
    from pipeline.runs.run import Run
    from pipeline.runs.truth import FEWEST, MOST, Truth

    given = [option for option, value in columned.items() if value]
    if given:
        raise typer.BadParameter(f"{given[0]} names a column of a file; of a run, all scores are compared")
    if not truth.isdecimal():
        raise typer.BadParameter(
            f"--truth {truth!r}: for a run it is how many networks to train to the end, {FEWEST} to {MOST}"
        )
    run = Run.open(path)
    with run.folder.lock(), progress_bar() as progress:
        trained = Truth(run, int(truth))
        progress.note(trained.plan())
        trained.train(progress)
        return RunRanking(run, trained).report(bootstrap, progress)


def _render(console: Console, title: str, document: dict[str, Any]) -> None:
    from pipeline.ranking.report import SHOWN, shown

    table = Table("", *document, title=f"{title}, 95 % intervals")
    for label, key in SHOWN:
        table.add_row(label, *(shown(entry, key) for entry in document.values()))
    console.print(table)
    for name, entry in document.items():
        for other, difference in entry["minus"].items():
            if name < other and difference["tau"] is not None:
                low, high = difference["ci95"] or (difference["tau"],) * 2
                console.print(f"tau of {name} minus {other}: {difference['tau']:+.3f} [{low:+.3f}, {high:+.3f}]")
    for name, entry in document.items():
        for line in _of_a_score(name, entry) if entry.get("stability") else ():
            console.print(line, highlight=False)


def _of_a_score(name: str, entry: dict[str, Any]) -> list[str]:
    """What only a run's own scores have: stability, and what pruning by them would keep."""
    told = {what.replace("_", " "): tau for what, tau in entry["stability"].items() if tau is not None}
    lines = [f"{name}, {what}: {tau:.3f}" for what, tau in told.items()]
    if (weights := entry.get("weights")) is not None:
        shown = {what: ", ".join(f"{weight:g}" for weight in found) for what, found in weights.items()}
        lines.append(f"{name}: rank_weights = [{shown['used']}]; by these networks [{shown['by_truth']}]")
    return lines + [
        f"{name}, without {', '.join(one['dropped'])}: {one['kept']:.0%} of the networks and"
        f" {one['kept_of_best_tenth']:.0%} of the best tenth are left"
        for one in entry["pruning"]
    ]
